#!/usr/bin/env bash
# TCP, base-to-new: evaluate on the new classes of DATASET, with the last epoch's prompts.
source "$(dirname "$0")/../common.sh"
