#!/usr/bin/env bash
# PromptSRC, few-shot with published prompts: WEIGHTS/SHOTSshot/seedSEED on DATASET, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
usage 3 "DATASET SHOTS WEIGHTS" "$@"
cfg=${CFG:-vit_b16_c2_ep50_batch4_4+4ctx_few_shot}
for seed in "${seeds[@]}"; do
  run PromptSRC "$cfg" "$1" "$seed" "$OUTPUT/few_shot/$1/PromptSRC/${cfg}_${2}shots/seed$seed" \
    --model-dir "$3/${2}shot/seed$seed" --load-epoch "$(last_epoch PromptSRC "$cfg")" --eval-only DATASET.NUM_SHOTS "$2"
done
