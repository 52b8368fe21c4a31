#!/usr/bin/env bash
# PromptSRC, cross-dataset with published prompts: WEIGHTS/seedSEED, trained on ImageNet, on DATASET.
source "$(dirname "$0")/../common.sh"
usage 3 "DATASET SEED WEIGHTS" "$@"
reproduce_xd PromptSRC "${CFG:-vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets}" "${SHOTS:-16}" "$1" "$2" "$3"
