#!/usr/bin/env bash
# on_gpu.sh [--minutes 9] [--out on_gpu]: everything about this machine's GPU, measured in one go; --help tells all
. "$(dirname "${BASH_SOURCE[0]}")/../common/python.sh"
need_python
exec "$PYTHON" -m benchmarks.on_gpu "$@"
