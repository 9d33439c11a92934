#!/usr/bin/env bash
# hw_p2.sh OUT.png: 32 faces sampled from the GAN
. "$(dirname "${BASH_SOURCE[0]}")/common/python.sh"
need_python
exec "$PYTHON" -m p2_dcgan.inference "$@"
