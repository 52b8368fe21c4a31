#!/usr/bin/env bash
# CoOp's second step of the linear probe. Here one command does both steps.
source "$(dirname "$0")/feat_extractor.sh"
