#!/usr/bin/env bash
# GRAM, few-shot: train TRAINER on all classes of DATASET with SHOTS images each, for each of SEEDS. GRAMPromptSRC takes the
# aggregation's mean and deviation that PromptSRC publishes for the dataset, unless GPA_MEAN and GPA_STD are set.
source "$(dirname "$0")/../common.sh"
