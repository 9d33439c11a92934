#!/usr/bin/env bash
# hw_download.sh [--data hw3_data] [--only usps mnistm svhn face]: official datasets in the course layout; --help tells all
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")
. "$repository/common/python.sh" || exit
set_up "$repository/requirements-download.txt"
run common.download "$@"
