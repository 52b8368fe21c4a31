#!/usr/bin/env bash
# The demo: zero-shot CLIP, CoOp and PromptSRC on drawings of animals, base-to-new, 16 shots, seeds 1 to 3, ending in the
# table and two pages: the report, and the pictures. It makes .venv where PYTHON lacks a package; when all is finished, it
# prints the table again. OUTPUT, DATA, JOBS as for all scripts.
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
DATA=$(absolute "${DATA:-data}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/output/demo}")
"$PYTHON" -m trainers sweep --methods ZeroshotCLIP CoOp PromptSRC --setting base2new --datasets emoji_animals \
  --shots 16 --seeds 1 2 3 --cfg study --root "$DATA" --output "$OUTPUT" --jobs "${JOBS:-2}" --no-table --quiet
"$PYTHON" -m trainers data show emoji_animals --root "$DATA" --shots 16 --out "$OUTPUT/pictures.html"
"$PYTHON" -m trainers results "$OUTPUT" --html "$OUTPUT/report.html"
