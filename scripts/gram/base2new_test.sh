#!/usr/bin/env bash
# GRAM, base-to-new: evaluate on the new classes of DATASET, with the last epoch's prompts.
source "$(dirname "$0")/settings.sh"
usage 2 "DATASET SEED" "$@"
cfg=$(config base2new)
base2new_test "$trainer" "$cfg" "${SHOTS:-16}" "$1" "$2" "$(last_epoch "$trainer" "$cfg")" ${meta[@]+"${meta[@]}"}
