#!/usr/bin/env bash
# ProMetaR, cross-dataset and domain generalization: train on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/../common.sh"
