#!/usr/bin/env bash
# Official datasets -> the course layout; `bash hw_download.sh --help` lists the options.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common/python.sh"
exec "$PYTHON" -m common.download "$@"
