#!/usr/bin/env bash
# CoOp, base-to-new as in ProGrad's paper: train on the base classes of DATASET, 4 shots, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
