#!/usr/bin/env bash
# CoCoOp, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SHOTS" "$@"
for seed in "${seeds[@]}"; do
  all_classes CoCoOp "${CFG:-vit_b16_c4_ep10_batch1_ctxv1}" "$2" "$1" "$seed" ""
done
