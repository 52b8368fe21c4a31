#!/usr/bin/env bash
# CoOp, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS. With two arguments
# the rest is as published: ResNet-50 (BACKBONE), epochs by shots, 16 context tokens before the class name; CFG, NCTX,
# CSC and CTP win.
source "$(dirname "$0")/../common.sh"
if [ $# -eq 2 ]; then
  cfg=${CFG:-$(epochs_by_shots "${BACKBONE:-rn50}" "$1" "$2")}
  set -- "$1" "$cfg" "${CTP:-end}" "${NCTX:-16}" "$2" "${CSC:-False}"
fi
usage 6 "DATASET SHOTS, or DATASET CFG CTP NCTX SHOTS CSC" "$@"
shots=$5
coop_keys "$4" "$6" "$3"
for seed in "${seeds[@]}"; do
  all_classes CoOp "$2" "$shots" "$1" "$seed" "/nctx$4_csc$6_ctp$3" "${keys[@]}"
done
