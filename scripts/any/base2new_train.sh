#!/usr/bin/env bash
# Any method, base-to-new: train on the base classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
