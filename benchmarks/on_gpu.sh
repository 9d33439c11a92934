#!/usr/bin/env bash
# on_gpu.sh [--minutes 9] [--out on_gpu]: everything about this machine's GPU, measured in one go; --help tells all
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")/..
. "$repository/common/python.sh" || exit
need_python
run benchmarks.on_gpu "$@"
