#!/usr/bin/env bash
# Any method, base-to-new: evaluate on the new classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
