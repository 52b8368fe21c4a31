#!/usr/bin/env bash
# The study: all methods in all four settings on the emoji datasets, seeds 1 to 3 (SEEDS), with the papers' claims, in an
# hour on two cores; --quick in ten minutes. It makes .venv where PYTHON lacks a package. Arguments go to promptreg study.
source "$(dirname "$0")/setup_env.sh"
# shellcheck disable=SC2119  # nothing besides what the house needs
setup_env
cd "$ROOT"
exec "$PYTHON" -m trainers study --out "${OUTPUT:-$ROOT/output/study}" --root "${DATA:-$ROOT/data}" "$@"
