#!/usr/bin/env bash
# What all scripts share. Taken from the environment where set there:
#   DATA    folder of the datasets            OUTPUT  folder of the results
#   CFG     config file's name (no .yaml)     SHOTS   images a class
#   LOADEP  epoch that test scripts load      PYTHON  interpreter (default: .venv's if there is one)
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DATA=${DATA:-data}
OUTPUT=${OUTPUT:-output}
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$ROOT/.venv/bin/python" ]; then PYTHON=$ROOT/.venv/bin/python; fi
fi

# usage COUNT "WORDS" ARGUMENTS…: leave with one line unless there are COUNT arguments.
usage() {
  local count=$1 words=$2
  shift 2
  if [ $# -ne "$count" ]; then
    echo "usage: bash $0 $words" >&2
    exit 2
  fi
}

# run TRAINER CFG DATASET SEED FOLDER [MORE…]: one run of train.py. A finished folder is not run again.
run() {
  local trainer=$1 cfg=$2 dataset=$3 seed=$4 folder=$5
  shift 5
  "$PYTHON" "$ROOT/train.py" --root "$DATA" --seed "$seed" --trainer "$trainer" \
    --dataset-config-file "$ROOT/configs/datasets/$dataset.yaml" \
    --config-file "$ROOT/configs/trainers/$trainer/$cfg.yaml" \
    --output-dir "$folder" "$@"
}

# base2new_train TRAINER CFG SHOTS DATASET SEED [KEY VALUE…]: train on the base classes.
base2new_train() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5
  shift 5
  run "$trainer" "$cfg" "$dataset" "$seed" "$OUTPUT/base2new/train_base/$dataset/shots_$shots/$trainer/$cfg/seed$seed" \
    DATASET.NUM_SHOTS "$shots" DATASET.SUBSAMPLE_CLASSES base "$@"
}

# base2new_test TRAINER CFG SHOTS DATASET SEED EPOCH [KEY VALUE…]: evaluate on the new classes.
base2new_test() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5 epoch=$6
  local below=$dataset/shots_$shots/$trainer/$cfg/seed$seed
  shift 6
  run "$trainer" "$cfg" "$dataset" "$seed" "$OUTPUT/base2new/test_new/$below" \
    --model-dir "$OUTPUT/base2new/train_base/$below" --load-epoch "$epoch" --eval-only \
    DATASET.NUM_SHOTS "$shots" DATASET.SUBSAMPLE_CLASSES new "$@"
}
