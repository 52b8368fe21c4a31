#!/usr/bin/env bash
# GRAM, few-shot: train TRAINER on all classes of DATASET with SHOTS images each, for each of SEEDS. GRAMPromptSRC takes the
# aggregation's mean and deviation that PromptSRC publishes for the dataset, unless GPA_MEAN and GPA_STD are set.
source "$(dirname "$0")/settings.sh"
usage 2 "DATASET SHOTS" "$@"
cfg=$(config few_shot)
if [ "$trainer" = GRAMPromptSRC ]; then
  case $1 in
    stanford_cars | oxford_flowers | fgvc_aircraft | dtd | eurosat) mean=45 std=5 ;;
    *) mean=30 std=30 ;;
  esac
  meta+=(TRAINER.PROMPTSRC.GPA_MEAN "${GPA_MEAN:-$mean}" TRAINER.PROMPTSRC.GPA_STD "${GPA_STD:-$std}")
fi
for seed in "${seeds[@]}"; do
  all_classes "$trainer" "$cfg" "$2" "$1" "$seed" "" ${meta[@]+"${meta[@]}"}
done
