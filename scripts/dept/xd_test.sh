#!/usr/bin/env bash
# DePT, cross-dataset and domain generalization: evaluate ImageNet's prompts on DATASET. TRAINER as in base-to-new.
source "$(dirname "$0")/../common.sh"
