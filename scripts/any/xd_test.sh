#!/usr/bin/env bash
# Any method, cross-dataset and domain generalization: evaluate on DATASET what xd_train.sh has trained.
source "$(dirname "$0")/settings.sh"
usage 3 "TRAINER DATASET SEED" "$@"
choose_cfg "$1"
xd_test "$1" "$cfg" "${SHOTS:-16}" "$2" "$3" "$(last_epoch "$1" "$cfg")" ""
