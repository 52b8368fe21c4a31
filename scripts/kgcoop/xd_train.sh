#!/usr/bin/env bash
# KgCoOp, cross-dataset and domain generalization: train on all classes of DATASET (imagenet).
source "$(dirname "$0")/../common.sh"
