#!/usr/bin/env bash
# KgCoOp, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_ep100_ctxv1}
xd_test KgCoOp "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch KgCoOp "$cfg")" ""
