#!/usr/bin/env bash
# GRAM, cross-dataset and domain generalization: train TRAINER on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/settings.sh"
usage 2 "DATASET SEED" "$@"
cfg=$(config xd)
all_classes "$trainer" "$cfg" "${SHOTS:-16}" "$1" "$2" "" ${meta[@]+"${meta[@]}"}
