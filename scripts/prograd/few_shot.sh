#!/usr/bin/env bash
# ProGrad, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS. With two arguments
# the rest is as published: ResNet-50 (BACKBONE), epochs by shots, 16 context tokens before the class name; CFG, NCTX,
# CSC and CTP win.
source "$(dirname "$0")/../common.sh"
