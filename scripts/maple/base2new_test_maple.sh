#!/usr/bin/env bash
# MaPLe, base-to-new: evaluate on the new classes of DATASET, with the last epoch's prompts.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c2_ep5_batch4_2ctx}
base2new_test MaPLe "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch MaPLe "$cfg")"
