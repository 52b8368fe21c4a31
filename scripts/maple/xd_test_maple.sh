#!/usr/bin/env bash
# MaPLe, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c2_ep5_batch4_2ctx_cross_datasets}
xd_test MaPLe "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch MaPLe "$cfg")" ""
