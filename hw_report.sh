#!/usr/bin/env bash
# hw_report.sh [flags]: the whole report; --help tells all
. "$(dirname "${BASH_SOURCE[0]}")/common/python.sh"
set_up "$repository/requirements.txt" $modules
exec "$PYTHON" "$repository/hw_report.py" "$@"
