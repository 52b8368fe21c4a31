#!/usr/bin/env bash
# MaPLe, base-to-new with published prompts: WEIGHTS/base/seedSEED on base and new classes of DATASET.
source "$(dirname "$0")/../common.sh"
usage 3 "DATASET SEED WEIGHTS" "$@"
reproduce_base2new MaPLe "${CFG:-vit_b16_c2_ep5_batch4_2ctx}" "${SHOTS:-16}" "$1" "$2" "$3"
