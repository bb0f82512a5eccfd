#!/usr/bin/env bash
# The test suite in two sessions at once, since most of it keeps one core busy: test.sh VENV
# The first session's output follows when both have ended.
set -uo pipefail
python=${1:?usage: test.sh VENV}/bin/python
first=$(mktemp)
trap 'rm -f "$first"' EXIT
apart=(tests/integration/test_serve.py tests/e2e/test_tour.py tests/e2e/test_wheel.py tests/e2e/test_readme.py)
"$python" -m pytest --durations=15 tests/unit "${apart[@]}" >"$first" 2>&1 &
"$python" -m pytest --durations=15 tests/e2e tests/integration "${apart[@]/#/--ignore=}"
second=$?
wait $!
firsts=$?
cat "$first"
exit $((second != 0 ? second : firsts))
