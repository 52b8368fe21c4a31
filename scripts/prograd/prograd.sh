#!/usr/bin/env bash
# few_shot.sh by its published name.
source "$(dirname "$0")/../common.sh"
