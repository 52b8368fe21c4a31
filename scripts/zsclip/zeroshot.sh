#!/usr/bin/env bash
# Zero-shot CLIP on all classes of DATASET. TRAINER=ZeroshotCLIP2 takes the ensemble of sentences. Nothing is drawn at
# random, so there is no seed.
source "$(dirname "$0")/../common.sh"
CONFIGS=ZeroshotCLIP
if [ $# -eq 1 ]; then set -- "$1" "${CFG:-vit_b16}"; fi
usage 2 "DATASET [CFG]" "$@"
trainer=${TRAINER:-ZeroshotCLIP}
run "$trainer" "$2" "$1" "${SEED:-1}" "$OUTPUT/$trainer/$2/$1" --eval-only
