#!/usr/bin/env bash
# Runs the tests in .venv, which is made where it is missing, in two processes and in random order (--randomly-seed=N
# repeats one, -p no:randomly leaves the files'). Further arguments go to pytest.
source "$(dirname "$0")/setup_env.sh"
setup_env
cd "$ROOT"
exec "$PYTHON" -m pytest tests -p no:cacheprovider -n "${JOBS:-2}" --dist worksteal "$@"
