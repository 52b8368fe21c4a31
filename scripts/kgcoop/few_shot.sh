#!/usr/bin/env bash
# KgCoOp, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SHOTS" "$@"
for seed in "${seeds[@]}"; do
  all_classes KgCoOp "${CFG:-vit_b16_ep100_ctxv1}" "$2" "$1" "$seed" ""
done
