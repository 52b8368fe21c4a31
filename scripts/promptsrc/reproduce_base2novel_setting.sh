#!/usr/bin/env bash
# PromptSRC, base-to-new with published prompts: WEIGHTS/base/seedSEED on base and new classes of DATASET.
source "$(dirname "$0")/../common.sh"
