#!/usr/bin/env bash
# ProMetaR, base-to-new: train on the base classes of DATASET, 16 shots, on the device GPU where that is given.
source "$(dirname "$0")/../common.sh"
