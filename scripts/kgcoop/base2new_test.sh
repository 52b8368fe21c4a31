#!/usr/bin/env bash
# KgCoOp, base-to-new: evaluate on the new classes of DATASET, 16 shots, for each of SEEDS. WEIGHT is the loss's W.
source "$(dirname "$0")/../common.sh"
