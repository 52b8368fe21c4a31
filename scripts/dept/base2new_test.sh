#!/usr/bin/env bash
# DePT, base-to-new: evaluate on the new classes of DATASET. TRAINER (DePT+CoOp, or coop_dept) says over which method.
source "$(dirname "$0")/../common.sh"
