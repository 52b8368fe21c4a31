#!/usr/bin/env bash
# TCP, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
