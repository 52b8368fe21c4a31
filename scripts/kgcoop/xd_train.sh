#!/usr/bin/env bash
# KgCoOp, cross-dataset and domain generalization: train on all classes of DATASET (imagenet).
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SEED" "$@"
cfg=${CFG:-vit_b16_ep100_ctxv1}
all_classes KgCoOp "$cfg" "${SHOTS:-16}" "$1" "$2" ""
