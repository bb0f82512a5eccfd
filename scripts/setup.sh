#!/usr/bin/env bash
# Make a virtual environment with fewgood and its tools in it: setup.sh VENV
# Needs Python 3.11 or 3.12; on Debian, as root, it installs the system packages that are missing.
set -euo pipefail
venv=${1:?usage: setup.sh VENV}

apt_get() {  # packages
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  else
    echo "setup: missing system packages, install them first: apt-get install $*" >&2
    exit 2
  fi
}

python=""
for candidate in python3.11 python3.12 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "setup: Python 3.11 or 3.12 is needed and neither is on PATH: apt-get install python3.11 python3.11-venv" >&2
  exit 2
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || apt_get "$(basename "$(readlink -f "$(command -v "$python")")")-venv"

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing into $venv (PyTorch is large: about 7 GB and 5 minutes)" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
