#!/usr/bin/env bash
# The demo's base-to-new table of docs/gram.md: each method beside itself under GRAM, 4 and 16 shots, three seeds.
# DATA, OUTPUT, PYTHON as for all scripts; JOBS runs at a time (default: 2). What is finished is not run again.
source "$(dirname "$0")/../scripts/python.sh"
exec "$PYTHON" "$ROOT/_promptreg.py" sweep --methods CoOp GRAMCoOp IVLP UNIGRAM PromptSRC GRAMPromptSRC --setting base2new \
  --datasets digits --seeds 1 2 3 --shots 4 16 --cfg demo --root "${DATA:-data}" --output "${OUTPUT:-output}" \
  --jobs "${JOBS:-2}"
