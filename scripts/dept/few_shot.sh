#!/usr/bin/env bash
# DePT, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS. TRAINER as in base-to-new.
source "$(dirname "$0")/../common.sh"
