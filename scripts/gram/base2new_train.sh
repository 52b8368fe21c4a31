#!/usr/bin/env bash
# GRAM, base-to-new: train TRAINER (default UNIGRAM) on the base classes of DATASET, 16 shots, from the file META.
source "$(dirname "$0")/settings.sh"
usage 2 "DATASET SEED" "$@"
cfg=$(config base2new)
base2new_train "$trainer" "$cfg" "${SHOTS:-16}" "$1" "$2" ${meta[@]+"${meta[@]}"}
