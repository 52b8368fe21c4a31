#!/usr/bin/env bash
# What all scripts share: each runs the commands of trainers/protocols that bear its name. Taken from the environment
# where set there:
#   DATA    folder of the datasets            OUTPUT   folder of the results
#   CFG     config file's name (no .yaml)     SHOTS    images a class
#   LOADEP  epoch that test scripts load      SEEDS    seeds of the scripts that loop over them (default: 1 2 3)
#   OPTS    KEY VALUE pairs for every run     DRY_RUN  print the commands and do not run them
#   PYTHON  interpreter (default: .venv's if there is one)
# --print-cfg among a script's arguments prints each run's merged config, with where each value came from, and runs nothing.
# OPTS is split at blanks. Pairs behind the script's arguments and "--" are taken word for word: -- INPUT.SIZE "(32, 32)"
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
folder=$(cd "$(dirname "$0")" && pwd)
command -v "$PYTHON" >/dev/null || fail 3 "there is no PYTHON $PYTHON: name another, PYTHON=python3 bash $0"
start=(-m promptreg)  # installed, or beside a host repository
if [ -f "$ROOT/_promptreg.py" ]; then start=("$ROOT/_promptreg.py"); fi
exec "$PYTHON" "${start[@]}" script "$ROOT" "$0" "${folder##*/}/$(basename "$0" .sh)" "$@"
