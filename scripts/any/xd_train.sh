#!/usr/bin/env bash
# Any method, cross-dataset and domain generalization: train on all classes of DATASET, 16 shots.
source "$(dirname "$0")/../common.sh"
