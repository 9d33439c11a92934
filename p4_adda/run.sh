#!/usr/bin/env bash
# run.sh [flags]: trains problem 4 where it is not finished, and draws its part of the report; --help tells all
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")/..
. "$repository/common/python.sh" || exit
set_up "$repository/requirements.txt"
run hw_report --problem p4 "$@"
