#!/usr/bin/env bash
# MMA, base-to-new: evaluate on the new classes of DATASET, config CFG, the adapters of EPOCH (the last).
source "$(dirname "$0")/../common.sh"
