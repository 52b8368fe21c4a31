#!/usr/bin/env bash
# CoOp, cross-dataset and domain generalization: evaluate on DATASET what main.sh imagenet CFG end 16 16 False
# has trained, for each of SEEDS. SHOTS, NCTX, CSC and CTP name other contexts.
source "$(dirname "$0")/../common.sh"
