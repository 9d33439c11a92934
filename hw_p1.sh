#!/usr/bin/env bash
# hw_p1.sh OUT.png: 32 faces sampled from the VAE
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")
. "$repository/common/python.sh" || exit
need_python
run p1_vae.inference "$@"
