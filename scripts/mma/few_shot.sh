#!/usr/bin/env bash
# MMA, few-shot: train on all classes of DATASET with SHOTS images each, for each of SEEDS.
source "$(dirname "$0")/../common.sh"
