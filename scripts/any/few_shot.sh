#!/usr/bin/env bash
# Any method, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS.
source "$(dirname "$0")/settings.sh"
usage 3 "TRAINER DATASET SHOTS" "$@"
choose_cfg "$1"
for seed in "${seeds[@]}"; do
  all_classes "$1" "$cfg" "$3" "$2" "$seed" ""
done
