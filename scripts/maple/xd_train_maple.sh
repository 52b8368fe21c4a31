#!/usr/bin/env bash
# MaPLe, cross-dataset and domain generalization: train on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
all_classes MaPLe "${CFG:-vit_b16_c2_ep5_batch4_2ctx_cross_datasets}" "${SHOTS:-16}" "$1" "$2" ""
