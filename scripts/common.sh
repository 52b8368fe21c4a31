#!/usr/bin/env bash
# What all scripts share. Taken from the environment where set there:
#   DATA    folder of the datasets            OUTPUT   folder of the results
#   CFG     config file's name (no .yaml)     SHOTS    images a class
#   LOADEP  epoch that test scripts load      SEEDS    seeds of the scripts that loop over them (default: 1 2 3)
#   OPTS    KEY VALUE pairs for every run     DRY_RUN  print the commands and do not run them ("words": for the sweep)
#   PYTHON  interpreter (default: .venv's if there is one)
# --print-cfg among a script's arguments prints each run's merged config, with where each value came from, and runs nothing.
# OPTS is split at blanks. Pairs behind the script's arguments and "--" are taken word for word: -- INPUT.SIZE "(32, 32)"
set -euo pipefail
unset CDPATH  # with it, cd may lead elsewhere, and prints where
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# fail CODE "LINE": leave with one line; the code is 2 for what was asked, 3 for the machine.
fail() {
  echo "error: $2" >&2
  exit "$1"
}

DATA=${DATA:-data}
OUTPUT=${OUTPUT:-output}
[[ " ${SEEDS:=1 2 3}" =~ ^([[:space:]]+-?[0-9]+)+[[:space:]]*$ ]] ||
  fail 2 "SEEDS='$SEEDS': give whole numbers, SEEDS='1 2 3' say"
# shellcheck disable=SC2034,SC2206  # read by the scripts; split at blanks
seeds=($SEEDS)
TRAIN=("$ROOT/train.py")
# shellcheck disable=SC2034  # read by meta_train.sh
COMMAND=(-m trainers)  # the command promptreg, run in ROOT or with it on PYTHONPATH
if [ ! -f "$ROOT/train.py" ]; then  # installed: ROOT is the package's folder
  TRAIN=(-m promptreg.cli.train)
  # shellcheck disable=SC2034
  COMMAND=(-m promptreg)
fi
set -f  # a star in OPTS is no file's name
# shellcheck disable=SC2206  # split at blanks; a here-string would need room on the disk
options=(${OPTS:-})
set +f
flags=()
for ((n = 1; n <= $#; n++)); do
  if [ "${!n}" = -- ]; then
    options+=("${@:n+1}")
    set -- "${@:1:n-1}"
  elif [ "${!n}" = --print-cfg ]; then
    flags=(--print-cfg)
    set -- "${@:1:n-1}" "${@:n+1}"
    n=$((n - 1))
  fi
done
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$ROOT/.venv/bin/python" ]; then PYTHON=$ROOT/.venv/bin/python; fi
fi

# usage COUNT "WORDS" ARGUMENTS…: leave with one line unless there are COUNT arguments.
usage() {
  local count=$1 words=$2
  shift 2
  if [ $# -ne "$count" ]; then
    echo "usage: bash $0 $words [-- KEY VALUE…]" >&2
    exit 2
  fi
}

# perform COMMAND…: run it; under DRY_RUN print it. The sweep has to read any path: to it go the number of words and the
# words, each ended by NUL.
perform() {
  case ${DRY_RUN:-} in
    "")
      command -v "$PYTHON" >/dev/null || fail 3 "there is no PYTHON $PYTHON: name another, PYTHON=python3 bash $0"
      "$@"
      ;;
    words) printf '%s\0' $# "$@" ;;
    *)
      printf '%q ' "$@"
      echo
      ;;
  esac
}

# absolute PATH: PATH from the root of the file system; it need not exist.
absolute() {
  case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
  esac
}

# find_config PATH: where a file or folder of configs/ is: in the repository, or, of a method of one's own, below this folder.
find_config() {
  if [ ! -e "$ROOT/configs/$1" ] && [ -e "$PWD/configs/$1" ]; then
    echo "$PWD/configs/$1"
  else
    echo "$ROOT/configs/$1"
  fi
}

# run TRAINER CFG DATASET SEED FOLDER [MORE…]: one run of train.py. A finished folder is not run again. The config is
# of the trainer's own folder below configs/trainers, or of CONFIGS.
run() {
  local trainer=$1 cfg=$2 dataset=$3 seed=$4 folder=$5
  shift 5
  perform "$PYTHON" "${TRAIN[@]}" ${flags[@]+"${flags[@]}"} --root "$DATA" --seed "$seed" --trainer "$trainer" \
    --dataset-config-file "$ROOT/configs/datasets/$dataset.yaml" \
    --config-file "$(find_config "trainers/${CONFIGS:-$trainer}/$cfg.yaml")" \
    --output-dir "$folder" "$@" ${options[@]+"${options[@]}"}
}

# last_epoch TRAINER CFG: the epoch whose prompts test scripts load: LOADEP, else the last by OPTIM.MAX_EPOCH behind --,
# else the config's last.
last_epoch() {
  local file i epoch=""
  for ((i = 0; i + 1 < ${#options[@]}; i += 2)); do
    if [ "${options[i]}" = OPTIM.MAX_EPOCH ]; then epoch=${options[i + 1]}; fi
  done
  file=$(find_config "trainers/$1/$2.yaml")
  if [ -n "${LOADEP:-}" ]; then
    echo "$LOADEP"
  elif [ -n "$epoch" ]; then
    echo "$epoch"
  elif [ -f "$file" ]; then
    sed -n 's/^ *MAX_EPOCH: *//p' "$file"
  else
    echo 1  # train.py will name the file that is missing
  fi
}

# base2new_train TRAINER CFG SHOTS DATASET SEED [KEY VALUE…]: train on the base classes. SHOTS may carry a word that
# the folder bears as well (KgCoOp's 16_8.0).
base2new_train() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5
  shift 5
  run "$trainer" "$cfg" "$dataset" "$seed" "$OUTPUT/base2new/train_base/$dataset/shots_$shots/$trainer/$cfg/seed$seed" \
    DATASET.NUM_SHOTS "${shots%%_*}" DATASET.SUBSAMPLE_CLASSES base "$@"
}

# base2new_test TRAINER CFG SHOTS DATASET SEED EPOCH [KEY VALUE…]: evaluate on the new classes.
base2new_test() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5 epoch=$6
  shift 6
  evaluate_classes new "$OUTPUT/base2new/train_base/$dataset/shots_$shots/$trainer/$cfg/seed$seed" \
    "$trainer" "$cfg" "$shots" "$dataset" "$seed" "$epoch" "$@"
}

# evaluate_classes base|new MODEL_DIR TRAINER CFG SHOTS DATASET SEED EPOCH [KEY VALUE…]
evaluate_classes() {
  local classes=$1 model=$2 trainer=$3 cfg=$4 shots=$5 dataset=$6 seed=$7 epoch=$8
  shift 8
  run "$trainer" "$cfg" "$dataset" "$seed" \
    "$OUTPUT/base2new/test_$classes/$dataset/shots_$shots/$trainer/$cfg/seed$seed" \
    --model-dir "$model" --load-epoch "$epoch" --eval-only \
    DATASET.NUM_SHOTS "${shots%%_*}" DATASET.SUBSAMPLE_CLASSES "$classes" "$@"
}

# all_classes TRAINER CFG SHOTS DATASET SEED BELOW [KEY VALUE…]: train on all classes; BELOW is empty or "/FOLDER".
all_classes() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5 below=$6
  shift 6
  run "$trainer" "$cfg" "$dataset" "$seed" "$OUTPUT/$dataset/$trainer/${cfg}_${shots}shots$below/seed$seed" \
    "$@" DATASET.NUM_SHOTS "$shots"
}

# xd_test TRAINER CFG SHOTS DATASET SEED EPOCH BELOW [KEY VALUE…]: evaluate what was trained on ImageNet (SOURCE) on
# another dataset, or on a variant of ImageNet.
xd_test() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5 epoch=$6 below=$7
  shift 7
  run "$trainer" "$cfg" "$dataset" "$seed" "$OUTPUT/evaluation/$trainer/${cfg}_${shots}shots$below/$dataset/seed$seed" \
    --model-dir "$OUTPUT/${SOURCE:-imagenet}/$trainer/${cfg}_${shots}shots$below/seed$seed" \
    --load-epoch "$epoch" --eval-only "$@"
}

# reproduce_base2new TRAINER CFG SHOTS DATASET SEED WEIGHTS: evaluate published prompts on base and new classes.
reproduce_base2new() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5 weights=$6 classes
  for classes in base new; do
    evaluate_classes "$classes" "$weights/base/seed$seed" "$trainer" "$cfg" "$shots" "$dataset" "$seed" \
      "$(last_epoch "$trainer" "$cfg")"
  done
}

# reproduce_xd TRAINER CFG SHOTS DATASET SEED WEIGHTS: evaluate published prompts of ImageNet on another dataset.
reproduce_xd() {
  local trainer=$1 cfg=$2 shots=$3 dataset=$4 seed=$5 weights=$6
  run "$trainer" "$cfg" "$dataset" "$seed" "$OUTPUT/evaluation/$trainer/${cfg}_${shots}shots/$dataset/seed$seed" \
    --model-dir "$weights/seed$seed" --load-epoch "$(last_epoch "$trainer" "$cfg")" --eval-only \
    DATASET.NUM_SHOTS "$shots"
}

# epochs_by_shots BACKBONE DATASET SHOTS: CoOp's and ProGrad's config: 50 epochs for 1 shot and always for ImageNet,
# 100 for 2 and 4, 200 for 8 and 16.
epochs_by_shots() {
  if [ "$2" = imagenet ]; then
    echo "$1_ep50"
    return
  fi
  case $3 in
    1) echo "$1_ep50" ;;
    2 | 4) echo "$1_ep100" ;;
    *) echo "$1" ;;
  esac
}

# coop_keys NCTX CSC CTP: the array "keys" of CoOp's and its followers' context.
coop_keys() {
  # shellcheck disable=SC2034  # read by the scripts
  keys=(TRAINER.COOP.N_CTX "$1" TRAINER.COOP.CSC "$2" TRAINER.COOP.CLASS_TOKEN_POSITION "$3")
}

# prograd_lambda DATASET SHOTS: the published share of the conflicting gradient that is taken away; LAMBDA wins.
prograd_lambda() {
  case $1:$2 in
    oxford_flowers:8 | oxford_flowers:16 | dtd:8 | dtd:16 | eurosat:8 | eurosat:16) echo "${LAMBDA:-0.8}" ;;
    *) echo "${LAMBDA:-1.0}" ;;
  esac
}
