#!/usr/bin/env bash
# Zero-shot CLIP on the base and on the new classes of DATASET, in the folders of the methods that it is compared with.
# TRAINER=ZeroshotCLIP2 takes the ensemble of sentences. SEED names the folder only: nothing is drawn at random.
source "$(dirname "$0")/../common.sh"
