#!/usr/bin/env bash
# run.sh [flags]: trains problem 1 where it is not finished, and draws its part of the report; --help tells all
. "$(dirname "${BASH_SOURCE[0]}")/../common/python.sh"
set_up "$repository/requirements.txt" $modules
exec "$PYTHON" "$repository/hw_report.py" --problem p1 "$@"
