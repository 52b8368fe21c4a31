#!/usr/bin/env bash
# PromptSRC, cross-dataset and domain generalization: train on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
all_classes PromptSRC "${CFG:-vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets}" "${SHOTS:-16}" "$1" "$2" ""
