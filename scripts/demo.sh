#!/usr/bin/env bash
# The demo: zero-shot CLIP and PromptSRC on Digits, base-to-new, 16 shots, seeds 1 to 3, ending in the table. It makes
# .venv where PYTHON lacks a package; when all is finished, it prints the table again. OUTPUT, DATA, JOBS as for all
# scripts.
here=$PWD
# absolute PATH: PATH from the root of the file system, seen from where the script was called; it need not exist.
absolute() {
  case $1 in
    /*) echo "$1" ;;
    *) echo "$here/$1" ;;
  esac
}
source "$(dirname "$0")/setup_env.sh"
# shellcheck disable=SC2119  # nothing besides what the house needs
setup_env
cd "$ROOT"
exec "$PYTHON" -m trainers sweep --methods ZeroshotCLIP PromptSRC --setting base2new --datasets digits --seeds 1 2 3 \
  --cfg demo --root "$(absolute "${DATA:-data}")" --output "$(absolute "${OUTPUT:-$ROOT/output/demo}")" \
  --jobs "${JOBS:-2}" --quiet
