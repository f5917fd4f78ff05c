#!/usr/bin/env bash
# Runs the checks of style, types and imports, then the tests.
#
#   scripts/run_tests.sh                      the quick tests, two at a time
#   scripts/run_tests.sh --all                the slow tests too, as with CI=true
#   scripts/run_tests.sh --thorough           all tests: every network, not one per family
#   scripts/run_tests.sh tests/nets -k lenet  other arguments go to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

selection=(-m 'not slow and not thorough')
if [[ ${CI:-} == true || ${1:-} == --all ]]; then
  selection=(-m 'not thorough')
fi
if [[ ${1:-} == --thorough ]]; then
  selection=()
fi
if [[ ${1:-} == --all || ${1:-} == --thorough ]]; then
  shift
fi

scripts/setup_env.sh --dev
.venv/bin/python -m ruff check .
.venv/bin/python -m mypy
.venv/bin/lint-imports
# Work stealing: slow tests differ by minutes, and no worker should wait for the other's queue.
exec .venv/bin/python -m pytest -n 2 --dist=worksteal "${selection[@]+"${selection[@]}"}" "$@"
