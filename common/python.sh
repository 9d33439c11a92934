# Sourced by the scripts. Makes our packages importable from any folder and sets PYTHON: `python3` where it has all
# requirements, else the .venv in this repository where that has them. set_up makes that .venv.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}"
modules="torch torchvision numpy matplotlib sklearn PIL tqdm"
venv="$repository/.venv"

can_import() {  # can_import PYTHON MODULE…: whether this Python is new enough and finds every module
    "$1" - "${@:2}" 2>/dev/null <<'EOF'
import importlib.util, sys
sys.exit(sys.version_info < (3, 10) or any(importlib.util.find_spec(name) is None for name in sys.argv[1:]))
EOF
}

choose_python() {  # choose_python MODULE…: sets PYTHON; fails if neither candidate has all the modules
    for PYTHON in python3 "$venv/bin/python"; do
        can_import "$PYTHON" "$@" && return
    done
    PYTHON=python3
    return 1
}

set_up() {  # set_up REQUIREMENTS_FILE MODULE…: as choose_python, but installs into .venv what is missing
    choose_python "${@:2}" && return
    if ! can_import python3; then
        echo "error: python3 must be Python 3.10 or newer; install one and put it first on PATH" >&2
        exit 1
    fi
    echo "Setting up $venv (downloads PyTorch once; some minutes, about 6 GB) …" >&2
    if ! { python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1"; }; then
        echo "error: the set-up failed; see the lines above, then run this command again" >&2
        exit 1
    fi
    PYTHON="$venv/bin/python"
}

need_python() {  # for scripts that install nothing: ends with one line where no Python has the requirements
    choose_python $modules && return
    echo "error: python3 lacks some of: $modules; run python3 -m pip install -r $repository/requirements.txt" >&2
    exit 1
}
