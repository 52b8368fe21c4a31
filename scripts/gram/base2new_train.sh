#!/usr/bin/env bash
# GRAM, base-to-new: train TRAINER (default UNIGRAM) on the base classes of DATASET, 16 shots, from the file META.
source "$(dirname "$0")/../common.sh"
