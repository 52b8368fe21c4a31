#!/usr/bin/env bash
# Any method, base-to-new: train on the base classes of DATASET, 16 shots.
source "$(dirname "$0")/settings.sh"
usage 3 "TRAINER DATASET SEED" "$@"
choose_cfg "$1"
base2new_train "$1" "$cfg" "${SHOTS:-16}" "$2" "$3"
