#!/usr/bin/env bash
# GRAM's meta-training: learn a start and a regulating function for PROMPTS from the image-text pairs of CORPUS, once for
# each of SEEDS, and report on held-out domains. A run that was killed goes on; a finished one is not run again.
#   CORPUS     demo, a .tsv of path and caption, a folder of images with .txt captions, or webdataset .tar shards
#   PROMPTS    coop, cocoop, vpt or unigram
#   PROCESSES  (environment) how many under torchrun; default: one per GPU, else two on two cores or more
#   CFG        (environment) configs/trainers/GRAM/CFG.yaml; default: demo for demo, else vit_b16
source "$(dirname "$0")/../common.sh"
