#!/usr/bin/env bash
# IVLP, base-to-new with published prompts: WEIGHTS/base/seedSEED on base and new classes of DATASET.
source "$(dirname "$0")/../common.sh"
usage 3 "DATASET SEED WEIGHTS" "$@"
reproduce_base2new IVLP "${CFG:-vit_b16_c2_ep20_batch4_4+4ctx}" "${SHOTS:-16}" "$1" "$2" "$3"
