#!/usr/bin/env bash
# VPT, base-to-new with published prompts: WEIGHTS/base/seedSEED on base and new classes of DATASET.
source "$(dirname "$0")/../common.sh"
usage 3 "DATASET SEED WEIGHTS" "$@"
reproduce_base2new VPT "${CFG:-vit_b16_c2_ep5_batch4_4}" "${SHOTS:-16}" "$1" "$2" "$3"
