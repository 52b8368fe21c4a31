#!/usr/bin/env bash
# What the scripts of any method share: TRAINER is a registered trainer, a method of your own too, whose configs lie in
# configs/trainers/TRAINER; CFG names one, and need not where there is only one.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# choose_cfg TRAINER: leaves the config's name in cfg.
choose_cfg() {
  local folder found
  folder=$(find_config "trainers/$1")
  found=("$folder"/*.yaml)
  if [ -n "${CFG:-}" ]; then
    cfg=$CFG
  elif [ ${#found[@]} -eq 1 ] && [ -f "${found[0]}" ]; then
    cfg=$(basename "${found[0]}" .yaml)
  else
    fail 2 "$1: name a config in CFG, one of those in $folder"
  fi
}
