# Sourced by the scripts, in any sh, once they have set `repository`. Sets PYTHON: `python3` where it has what requirements.txt
# asks for, else the .venv in this repository where that has it. set_up makes that .venv.
[ -z "${ZSH_VERSION-}" ] || emulate sh 2>/dev/null || :       # in which `command cd` is that of the shell
unset CDPATH        # with which cd prints
repository=$(command cd -P -- "$repository" && pwd)
venv="$repository/.venv"

# without its relative entries, above all empty ones: they would put the caller's folder before all packages
entries=${PYTHONPATH-}:
PYTHONPATH=
while [ "$entries" ]; do
    case $entries in /*) PYTHONPATH=$PYTHONPATH${PYTHONPATH:+:}${entries%%:*};; esac
    entries=${entries#*:}
done

fail() {
    echo "error: $1" >&2
    exit 1
}

choose_python() {  # choose_python PACKAGE…: sets PYTHON; where neither has these packages too, fails and says why in `fault`
    PYTHON=python3
    fault=$(python3 "$repository/common/requirements.py" "$@" 2>/dev/null) && return
    case $fault in
        lacks*|has*) fault="python3 $fault"; old=;;
        *) old="python3 must be Python 3.10 or newer; install one and put it first on PATH";;
    esac
    unset PYTHONPATH        # where python3 finds packages; .venv has its own
    PYTHON=$venv/bin/python
    "$PYTHON" "$repository/common/requirements.py" "$@" >/dev/null 2>&1 && return
    [ -z "$old" ] || fail "$old"
    return 1
}

set_up() {  # set_up REQUIREMENTS_FILE PACKAGE…: as choose_python, but installs into .venv what is missing
    file=$1
    shift
    choose_python "$@" && return
    echo "Setting up $venv, as $fault (downloads PyTorch once; some minutes, about 6 GB) …" >&2
    # -I: nothing from the caller's folder here either
    { python3 -I -m venv "$venv" && "$PYTHON" -I -m pip install --quiet --disable-pip-version-check -r "$file"; } ||
        fail "the set-up failed; see the lines above, then run this command again"
}

need_python() {  # for scripts that install nothing: ends with one line where no Python has the requirements
    choose_python || fail "$fault; bash '$repository/hw_setup.sh' makes a .venv there that has it all (about 6 GB)"
}

run() {  # run MODULE ARGUMENT…: as python3 -m, but nothing is imported from the caller's folder
    exec "$PYTHON" "$repository/common/start.py" "$@"
}
