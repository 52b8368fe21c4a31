#!/usr/bin/env bash
# KgCoOp, base-to-new: train on the base classes of DATASET, 16 shots, for each of SEEDS. WEIGHT is the loss's W.
source "$(dirname "$0")/../common.sh"
