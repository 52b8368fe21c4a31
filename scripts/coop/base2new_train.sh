#!/usr/bin/env bash
# CoOp, base-to-new as in ProGrad's paper: train on the base classes of DATASET, 4 shots, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
usage 1 "DATASET" "$@"
shots=${SHOTS:-4}
cfg=${CFG:-$(epochs_by_shots "${BACKBONE:-rn50}" "$1" 4)}
coop_keys "${NCTX:-16}" "${CSC:-False}" "${CTP:-end}"
for seed in "${seeds[@]}"; do
  base2new_train CoOp "$cfg" "$shots" "$1" "$seed" "${keys[@]}"
done
