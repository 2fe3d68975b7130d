#!/usr/bin/env bash
# Makes the virtual environment VENV from requirements-dev.txt. Usage: venv.sh VENV STAMP
set -euo pipefail

venv=$1
stamp=$2
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
    echo "make venv: '$python' was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "make venv: $("$python" --version) is too old, ansible-core 2.19 needs 3.11 or newer. Name one: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if [[ -L $venv ]]; then
    echo "make venv: $venv is a link, and what it leads to would be emptied. Remove the link, or name another: make VENV=/path" >&2
    exit 1
fi
# Debian ships the module that puts pip into a new environment in a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "make venv: installing python3-venv"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
    else
        echo "make venv: '$python' has no ensurepip. Install it (Debian and Ubuntu: apt-get install python3-venv) and run make again" >&2
        exit 1
    fi
fi

echo "make venv: installing what requirements-dev.txt names into $venv (less than a minute with a near mirror)"
rm -f "$(dirname "$stamp")"/.requirements-*
# Emptied, not removed, so that the folder may be a mount.
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
touch "$stamp"
