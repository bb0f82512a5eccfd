#!/usr/bin/env bash
# The main job on the embedded sample: a Ray Tune + Optuna sweep, the leaderboard, and an HTML report. demo.sh VENV
set -euo pipefail
venv=${1:?usage: demo.sh VENV}
export FEWGOOD_HOME=${FEWGOOD_HOME:-$PWD/.fewgood}
mkdir -p demo-out
"$venv/bin/fewgood" sweep docs/studies/demo.yaml --report demo-out/report.html
