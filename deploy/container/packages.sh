#!/bin/sh
# Install the locked packages into a new environment: packages.sh FOLDER REQUIREMENTS
set -eu
python3 -m venv "$1"
"$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --no-deps -r "$2"
