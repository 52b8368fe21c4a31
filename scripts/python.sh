#!/usr/bin/env bash
# Where this repository lies (ROOT), which interpreter is to be used (PYTHON), and how a script leaves with one line.
set -euo pipefail
unset CDPATH  # with it, cd may lead elsewhere, and prints where
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$ROOT/.venv/bin/python" ]; then PYTHON=$ROOT/.venv/bin/python; fi
fi
export PYTHON

# fail CODE "LINE": leave with one line; the code is 2 for what was asked, 3 for the machine.
fail() {
  echo "error: $2" >&2
  exit "$1"
}
