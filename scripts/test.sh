#!/usr/bin/env bash
# Runs the tests with the interpreter PYTHON where it has what they need, else in .venv, which is made where it is
# missing; in JOBS processes (2, and a third where SLURM is installed, whose tests wait more than they work) and in random
# order (--randomly-seed=N repeats one, -p no:randomly leaves the files').
# Further arguments go to pytest: the paths among them, where there are any, are all that is run.
source "$(dirname "$0")/setup_env.sh"
setup_env pytest hypothesis xdist pytest_randomly pytest_cov
cd "$ROOT"
if [ -z "${JOBS:-}" ]; then if command -v slurmctld >/dev/null; then JOBS=3; else JOBS=2; fi; fi
exec "$PYTHON" -m pytest -p no:cacheprovider -n "$JOBS" --dist worksteal "$@"
