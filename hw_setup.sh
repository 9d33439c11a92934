#!/usr/bin/env bash
# hw_setup.sh: where python3 lacks what the other scripts need, makes a virtual environment .venv here that has it
case ${1-} in -h|--help)
    echo 'usage: bash hw_setup.sh: where python3 lacks what the other scripts need, makes .venv, which has it'; exit 0;;
esac
here=${BASH_SOURCE:-$0}     # or what that links to
while [ -L "$here" ]; do link=$(readlink "$here"); case $link in /*) here=$link;; *) here=$(dirname "$here")/$link;; esac; done
repository=$(dirname "$here")
. "$repository/common/python.sh" || exit
set_up "$repository/requirements.txt"
echo "$PYTHON has all that is needed" 2>/dev/null || :       # where nobody reads it
