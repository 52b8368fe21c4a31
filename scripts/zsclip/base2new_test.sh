#!/usr/bin/env bash
# Zero-shot CLIP on the base and on the new classes of DATASET, in the folders of the methods that it is compared with.
# TRAINER=ZeroshotCLIP2 takes the ensemble of sentences. SEED names the folder only: nothing is drawn at random.
source "$(dirname "$0")/../common.sh"
CONFIGS=ZeroshotCLIP
usage 2 "DATASET SEED" "$@"
trainer=${TRAINER:-ZeroshotCLIP} cfg=${CFG:-vit_b16} shots=${SHOTS:-16}
for classes in base new; do
  run "$trainer" "$cfg" "$1" "$2" "$OUTPUT/base2new/test_$classes/$1/shots_$shots/$trainer/$cfg/seed$2" --eval-only \
    DATASET.NUM_SHOTS "$shots" DATASET.SUBSAMPLE_CLASSES "$classes"
done
