#!/usr/bin/env bash
# Any method, cross-dataset and domain generalization: train on all classes of DATASET, 16 shots.
source "$(dirname "$0")/settings.sh"
usage 3 "TRAINER DATASET SEED" "$@"
choose_cfg "$1"
all_classes "$1" "$cfg" "${SHOTS:-16}" "$2" "$3" ""
