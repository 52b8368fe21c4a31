#!/usr/bin/env bash
# IVLP, base-to-new: train on the base classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
base2new_train IVLP "${CFG:-vit_b16_c2_ep20_batch4_4+4ctx}" "${SHOTS:-16}" "$1" "$2"
