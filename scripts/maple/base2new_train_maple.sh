#!/usr/bin/env bash
# MaPLe, base-to-new: train on the base classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
base2new_train MaPLe "${CFG:-vit_b16_c2_ep5_batch4_2ctx}" "${SHOTS:-16}" "$1" "$2"
