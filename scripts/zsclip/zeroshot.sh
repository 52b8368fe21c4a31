#!/usr/bin/env bash
# Zero-shot CLIP on all classes of DATASET. TRAINER=ZeroshotCLIP2 takes the ensemble of sentences. Nothing is drawn at
# random, so there is no seed.
source "$(dirname "$0")/../common.sh"
