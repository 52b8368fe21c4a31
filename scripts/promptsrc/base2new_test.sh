#!/usr/bin/env bash
# PromptSRC, base-to-new: evaluate on the new classes of DATASET, with the last epoch's prompts.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c2_ep20_batch4_4+4ctx}
base2new_test PromptSRC "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch PromptSRC "$cfg")"
