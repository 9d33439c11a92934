#!/usr/bin/env bash
# hw_p3.sh IMAGE_DIR TARGET PRED.csv: digits by DANN; TARGET is mnistm, svhn or usps
. "$(dirname "${BASH_SOURCE[0]}")/common/python.sh"
need_python
exec "$PYTHON" -m p3_dann.inference "$@"
