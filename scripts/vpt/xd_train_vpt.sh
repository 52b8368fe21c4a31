#!/usr/bin/env bash
# VPT, cross-dataset and domain generalization: train on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
all_classes VPT "${CFG:-vit_b16_c2_ep5_batch4_4}" "${SHOTS:-16}" "$1" "$2" ""
