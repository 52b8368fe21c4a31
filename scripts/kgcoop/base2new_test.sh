#!/usr/bin/env bash
# KgCoOp, base-to-new: evaluate on the new classes of DATASET, 16 shots, for each of SEEDS. WEIGHT is the loss's W.
source "$(dirname "$0")/../common.sh"
usage 1 "DATASET" "$@"
cfg=${CFG:-vit_b16_ep100_ctxv1} weight=${WEIGHT:-8.0}
coop_keys "${NCTX:-4}" "${CSC:-False}" "${CTP:-end}"
for seed in "${seeds[@]}"; do
  base2new_test KgCoOp "$cfg" "${SHOTS:-16}_$weight" "$1" "$seed" "$(last_epoch KgCoOp "$cfg")" \
    TRAINER.COOP.W "$weight" "${keys[@]}"
done
