#!/usr/bin/env bash
# CoCoOp, cross-dataset and domain generalization: train on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
all_classes CoCoOp "${CFG:-vit_b16_c4_ep10_batch1_ctxv1}" "${SHOTS:-16}" "$1" "$2" ""
