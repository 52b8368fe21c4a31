#!/usr/bin/env bash
# DePT, cross-dataset and domain generalization: train on all classes of DATASET (imagenet). TRAINER as in base-to-new.
source "$(dirname "$0")/../common.sh"
