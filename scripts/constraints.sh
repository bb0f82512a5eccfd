#!/usr/bin/env bash
# Print the versions that a venv holds as pip constraints: constraints.sh VENV
set -euo pipefail
venv=${1:?usage: constraints.sh VENV}
echo "# Made by 'make constraints': the versions an installation was tested with (Python 3.11)."
"$venv/bin/python" -m pip freeze --exclude-editable --disable-pip-version-check | grep -vE '^(-e|fewgood)|@ file:' | LC_ALL=C sort -f
