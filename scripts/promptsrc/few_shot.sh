#!/usr/bin/env bash
# PromptSRC, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS. The aggregation's
# mean and deviation are the published ones for the dataset, unless GPA_MEAN and GPA_STD are set.
source "$(dirname "$0")/../common.sh"
usage 2 "DATASET SHOTS" "$@"
case $1 in
  stanford_cars | oxford_flowers | fgvc_aircraft | dtd | eurosat) mean=45 std=5 ;;
  *) mean=30 std=30 ;;
esac
for seed in "${seeds[@]}"; do
  all_classes PromptSRC "${CFG:-vit_b16_c2_ep50_batch4_4+4ctx_few_shot}" "$2" "$1" "$seed" "" \
    TRAINER.PROMPTSRC.GPA_MEAN "${GPA_MEAN:-$mean}" TRAINER.PROMPTSRC.GPA_STD "${GPA_STD:-$std}"
done
