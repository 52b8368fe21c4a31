#!/usr/bin/env bash
# KgCoOp, base-to-new: train on the base classes of DATASET, 16 shots, for each of SEEDS. WEIGHT is the loss's W.
source "$(dirname "$0")/../common.sh"
usage 1 "DATASET" "$@"
cfg=${CFG:-vit_b16_ep100_ctxv1} weight=${WEIGHT:-8.0}
coop_keys "${NCTX:-4}" "${CSC:-False}" "${CTP:-end}"
for seed in "${seeds[@]}"; do
  base2new_train KgCoOp "$cfg" "${SHOTS:-16}_$weight" "$1" "$seed" TRAINER.COOP.W "$weight" "${keys[@]}"
done
