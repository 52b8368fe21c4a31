#!/usr/bin/env bash
# MMA, base-to-new: train on the base classes of DATASET, 16 shots; config CFG (ImageNet's has batches of 128).
source "$(dirname "$0")/../common.sh"
