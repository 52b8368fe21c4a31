#!/usr/bin/env bash
# IVLP, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_c2_ep20_batch4_4+4ctx}
xd_test IVLP "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch IVLP "$cfg")" ""
