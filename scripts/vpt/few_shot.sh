#!/usr/bin/env bash
# VPT, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SHOTS" "$@"
for seed in "${seeds[@]}"; do
  all_classes VPT "${CFG:-vit_b16_c2_ep5_batch4_4}" "$2" "$1" "$seed" ""
done
