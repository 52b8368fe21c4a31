#!/usr/bin/env bash
# PromptSRC, cross-dataset with published prompts: WEIGHTS/seedSEED, trained on ImageNet, on DATASET.
source "$(dirname "$0")/../common.sh"
