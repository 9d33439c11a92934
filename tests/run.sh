#!/usr/bin/env bash
# Sets up what the tests need (the current Python where it has everything, else .venv) and runs linter and tests.
# Arguments go to pytest: bash tests/run.sh -k vae
. "$(dirname "${BASH_SOURCE[0]}")/../common/python.sh"
set -euo pipefail
set_up "$repository/requirements-dev.txt" $modules pytest ruff
cd "$repository"
"$PYTHON" -m ruff check .
"$PYTHON" -m pytest "$@"
