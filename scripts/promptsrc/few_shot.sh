#!/usr/bin/env bash
# PromptSRC, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS. The aggregation's
# mean and deviation are the published ones for the dataset, unless GPA_MEAN and GPA_STD are set.
source "$(dirname "$0")/../common.sh"
