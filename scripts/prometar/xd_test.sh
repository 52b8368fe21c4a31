#!/usr/bin/env bash
# ProMetaR, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET.
source "$(dirname "$0")/../common.sh"
