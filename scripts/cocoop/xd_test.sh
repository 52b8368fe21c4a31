#!/usr/bin/env bash
# CoCoOp, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c4_ep10_batch1_ctxv1}
xd_test CoCoOp "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch CoCoOp "$cfg")" ""
