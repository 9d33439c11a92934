#!/usr/bin/env bash
# Sets up what the tests need (the current Python where it has everything, else .venv) and runs linter and tests.
# Arguments go to pytest: bash tests/run.sh -k vae
case ${1-} in -h|--help)
    echo 'bash tests/run.sh [pytest flags]: sets up what the tests need, then runs the linter and the tests'; exit 0;;
esac
. "$(dirname "${BASH_SOURCE[0]}")/../common/python.sh"
set -euo pipefail
set_up "$repository/requirements-dev.txt" $modules pytest hypothesis ruff
cd "$repository"
"$PYTHON" -m ruff check .
"$PYTHON" -m pytest "$@"
