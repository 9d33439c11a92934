#!/usr/bin/env bash
# hw_download.sh [--data hw3_data] [--only usps mnistm svhn face]: official datasets in the course layout; --help tells all
. "$(dirname "${BASH_SOURCE[0]}")/common/python.sh"
set_up "$repository/requirements-download.txt" $modules
exec "$PYTHON" -m common.download "$@"
