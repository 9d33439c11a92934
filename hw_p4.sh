#!/usr/bin/env bash
# hw_p4.sh IMAGE_DIR TARGET PRED.csv: digits by ADDA; TARGET is mnistm, svhn or usps
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")
. "$repository/common/python.sh" || exit
need_python
run p4_adda.inference "$@"
