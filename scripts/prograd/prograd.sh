#!/usr/bin/env bash
# few_shot.sh by its published name.
exec bash "$(dirname "$0")/few_shot.sh" "$@"
