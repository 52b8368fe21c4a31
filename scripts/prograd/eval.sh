#!/usr/bin/env bash
# ProGrad, cross-dataset and domain generalization: evaluate on DATASET what few_shot.sh imagenet CFG end 16 4 False
# has trained, for each of SEEDS. SHOTS, NCTX, CSC and CTP name other contexts.
source "$(dirname "$0")/../common.sh"
