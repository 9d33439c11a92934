#!/usr/bin/env bash
# hw_p2.sh OUT.png: 32 faces sampled from the GAN
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")
. "$repository/common/python.sh" || exit
need_python
run p2_dcgan.inference "$@"
