#!/usr/bin/env bash
# PromptSRC, base-to-new: evaluate on the new classes of DATASET, with the prompts of epoch 20.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
base2new_test PromptSRC "${CFG:-vit_b16_c2_ep20_batch4_4+4ctx}" "${SHOTS:-16}" "$1" "$2" "${LOADEP:-20}"
