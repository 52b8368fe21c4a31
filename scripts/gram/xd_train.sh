#!/usr/bin/env bash
# GRAM, cross-dataset and domain generalization: train TRAINER on all classes of DATASET (imagenet), 16 shots.
source "$(dirname "$0")/../common.sh"
