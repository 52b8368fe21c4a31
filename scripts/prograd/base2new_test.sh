#!/usr/bin/env bash
# ProGrad, base-to-new as in ProGrad's paper: evaluate on the new classes of DATASET, 4 shots, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
usage 1 "DATASET" "$@"
shots=${SHOTS:-4}
cfg=${CFG:-$(epochs_by_shots "${BACKBONE:-rn50}" "$1" 4)}
coop_keys "${NCTX:-16}" "${CSC:-False}" "${CTP:-end}"
for seed in "${seeds[@]}"; do
  base2new_test ProGrad "$cfg" "$shots" "$1" "$seed" "$(last_epoch ProGrad "$cfg")" \
    LOSS.LAMBDA "$(prograd_lambda "$1" "$shots")" "${keys[@]}"
done
