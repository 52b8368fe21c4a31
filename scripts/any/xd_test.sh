#!/usr/bin/env bash
# Any method, cross-dataset and domain generalization: evaluate on DATASET what xd_train.sh has trained.
source "$(dirname "$0")/../common.sh"
