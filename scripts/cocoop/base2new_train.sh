#!/usr/bin/env bash
# CoCoOp, base-to-new: train on the base classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
base2new_train CoCoOp "${CFG:-vit_b16_c4_ep10_batch1_ctxv1}" "${SHOTS:-16}" "$1" "$2"
