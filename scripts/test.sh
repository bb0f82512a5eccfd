#!/usr/bin/env bash
# The test suite in two sessions at once, since most of it keeps one core busy: test.sh VENV
# Unit tests (no Ray, no browser) run beside the others; their output follows when both have ended.
set -uo pipefail
python=${1:?usage: test.sh VENV}/bin/python
unit=$(mktemp)
trap 'rm -f "$unit"' EXIT
"$python" -m pytest tests/unit >"$unit" 2>&1 &
"$python" -m pytest tests/e2e tests/integration
others=$?
wait $!
units=$?
cat "$unit"
exit $((others != 0 ? others : units))
