#!/usr/bin/env bash
# What demo.sh, test.sh and check.sh share: an interpreter with all that they need, left in PYTHON. An interpreter given
# as PYTHON is taken as it is where it has the packages; else .venv is made with it (default: python3), once, with the
# packages of all three.
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
VENV=$ROOT/.venv
NEEDED="torch torchvision open_clip yacs ftfy regex safetensors sklearn scipy matplotlib rich tqdm gdown"

# has_packages INTERPRETER PACKAGE…: whether it has those that the house needs, and these.
has_packages() {
  local interpreter=$1
  shift
  # shellcheck disable=SC2086  # one argument a package
  "$interpreter" -c 'import sys
from importlib.util import find_spec
sys.exit(any(find_spec(name) is None for name in sys.argv[1:]))' $NEEDED "$@" 2>/dev/null
}

# setup_env PACKAGE…: those, by import name, that the script needs besides the house's.
setup_env() {
  local maker=$PYTHON mark="$VENV/.promptreg" state log="$VENV/install.log"
  if [ "$maker" = python ] && ! command -v python >/dev/null; then maker=python3; fi
  if [ "$maker" != "$VENV/bin/python" ] && has_packages "$maker" "$@"; then return; fi
  PYTHON=$VENV/bin/python
  if [ ! -x "$PYTHON" ]; then
    if [ "$maker" = "$PYTHON" ] || [ "$maker" = python ]; then maker=python3; fi
    "$maker" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
      fail 3 "$maker is not Python 3.10 or newer: install one and name it, PYTHON=python3.12 bash $0"
    echo "Making $VENV"
    "$maker" -m venv "$VENV" ||
      fail 3 "$maker cannot make a virtual environment: install its venv module (python3-venv on Debian and Ubuntu)"
  fi
  state=$(cat "$ROOT/setup.py" "$ROOT/pyproject.toml" "$ROOT/requirements.txt" | cksum)
  if [ "$(cat "$mark" 2>/dev/null)" = "$state" ]; then return; fi
  echo "Installing into $VENV (PyTorch is large: some minutes)"
  if ! "$PYTHON" -m pip install --disable-pip-version-check -e "${ROOT}[dev]" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    fail 3 "the installation failed; all of its output is in $log"
  fi
  echo "$state" >"$mark"
}
