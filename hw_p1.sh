#!/usr/bin/env bash
# hw_p1.sh OUT.png: 32 faces sampled from the VAE
. "$(dirname "${BASH_SOURCE[0]}")/common/python.sh"
need_python
exec "$PYTHON" -m p1_vae.inference "$@"
