#!/usr/bin/env bash
# PromptSRC, few-shot with published prompts: WEIGHTS/SHOTSshot/seedSEED on DATASET, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
