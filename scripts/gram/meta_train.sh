#!/usr/bin/env bash
# GRAM's meta-training: learn a start and a regulating function for PROMPTS from the image-text pairs of CORPUS, once for
# each of SEEDS, and report on held-out domains. A run that was killed goes on; a finished one is not run again.
#   CORPUS     demo, a .tsv of path and caption, a folder of images with .txt captions, or webdataset .tar shards
#   PROMPTS    coop, cocoop, vpt or unigram
#   PROCESSES  (environment) how many under torchrun; default: one per GPU, else two on two cores or more
#   CFG        (environment) configs/trainers/GRAM/CFG.yaml; default: demo for demo, else vit_b16
source "$(dirname "$0")/../common.sh"
usage 2 "CORPUS PROMPTS" "$@"
corpus=$1
name=$(basename "$corpus")
name=${name%.*}
cfg=${CFG:-$([ "$corpus" = demo ] && echo demo || echo vit_b16)}
gpus=$(nvidia-smi -L 2>/dev/null | grep -c ^GPU || true)
cores=$(nproc 2>/dev/null || echo 1)
processes=${PROCESSES:-$((gpus > 0 ? gpus : cores > 1 ? 2 : 1))}
[[ $processes =~ ^[1-9][0-9]*$ ]] || fail 2 "PROCESSES='$processes': give a whole number from 1"
launch=("$PYTHON")
if [ "$processes" -gt 1 ] && [ -z "${flags[*]-}" ]; then  # one prints the config
  launch+=(-m torch.distributed.run --standalone --nproc_per_node "$processes")
  if [ "$gpus" = 0 ]; then export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}; fi
fi
folders=()
for seed in "${seeds[@]}"; do
  folder=$OUTPUT/gram/$name/$2/$cfg/seed$seed
  folders+=("$folder")
  perform "${launch[@]}" "${TRAIN[@]}" ${flags[@]+"${flags[@]}"} --trainer GRAM --root "$DATA" --seed "$seed" \
    --config-file "$ROOT/configs/trainers/GRAM/$cfg.yaml" --output-dir "$folder" \
    TRAINER.GRAM.CORPUS "$corpus" TRAINER.GRAM.PROMPTS "$2" ${options[@]+"${options[@]}"}
done
if [ -z "${DRY_RUN:-}${flags[*]-}" ]; then
  PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" "${COMMAND[@]}" gram report "${folders[@]}"
fi
