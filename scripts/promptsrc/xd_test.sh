#!/usr/bin/env bash
# PromptSRC, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets}
xd_test PromptSRC "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch PromptSRC "$cfg")" ""
