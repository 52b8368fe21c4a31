#!/usr/bin/env bash
# TCP, base-to-new: train on the base classes of DATASET, 16 shots; 50 epochs, 25 on ImageNet and SUN397.
source "$(dirname "$0")/../common.sh"
