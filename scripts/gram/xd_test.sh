#!/usr/bin/env bash
# GRAM, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/settings.sh"
usage 2 "DATASET SEED" "$@"
cfg=$(config xd)
xd_test "$trainer" "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch "$trainer" "$cfg")" "" ${meta[@]+"${meta[@]}"}
