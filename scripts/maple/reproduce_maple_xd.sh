#!/usr/bin/env bash
# MaPLe, cross-dataset with published prompts: WEIGHTS/seedSEED, trained on ImageNet, on DATASET.
source "$(dirname "$0")/../common.sh"
usage 3 "DATASET SEED WEIGHTS" "$@"
reproduce_xd MaPLe "${CFG:-vit_b16_c2_ep5_batch4_2ctx_cross_datasets}" "${SHOTS:-16}" "$1" "$2" "$3"
