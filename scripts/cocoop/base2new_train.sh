#!/usr/bin/env bash
# CoCoOp, base-to-new: train on the base classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
