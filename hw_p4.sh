#!/usr/bin/env bash
# hw_p4.sh IMAGE_DIR TARGET PRED.csv: digits by ADDA; TARGET is mnistm, svhn or usps
. "$(dirname "${BASH_SOURCE[0]}")/common/python.sh"
need_python
exec "$PYTHON" -m p4_adda.inference "$@"
