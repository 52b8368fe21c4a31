#!/usr/bin/env bash
# CoCoOp, base-to-new: evaluate on the new classes of DATASET, with the last epoch's prompts.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c4_ep10_batch1_ctxv1}
base2new_test CoCoOp "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch CoCoOp "$cfg")"
