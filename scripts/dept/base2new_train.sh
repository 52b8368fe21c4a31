#!/usr/bin/env bash
# DePT, base-to-new: train on the base classes of DATASET, 16 shots. TRAINER (DePT+CoOp, or coop_dept) says over which method.
source "$(dirname "$0")/../common.sh"
