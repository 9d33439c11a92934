#!/usr/bin/env bash
# Sets up what the tests need (the current Python where it has everything, else .venv) and runs linter and tests.
# Arguments go to pytest: bash tests/run.sh -k vae
case ${1-} in -h|--help)
    echo 'bash tests/run.sh [pytest flags]: sets up what the tests need, then runs the linter and the tests'; exit 0;;
esac
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")/..
. "$repository/common/python.sh" || exit
set -eu
set_up "$repository/requirements-dev.txt" pytest hypothesis ruff
cd "$repository"
"$PYTHON" -m ruff check .
# a file of tests after the other on each of two cores, where pytest-xdist is there to share them out
if "$PYTHON" -c "import xdist" 2>/dev/null; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    set -- -n 2 --dist loadfile "$@"
fi
"$PYTHON" -m pytest "$@"
