#!/usr/bin/env bash
# MMA, cross-dataset and domain generalization: evaluate ImageNet's adapters on DATASET.
source "$(dirname "$0")/../common.sh"
