#!/usr/bin/env bash
# CoOp's first step of the linear probe. Here one command does both steps.
echo "error: one command extracts features and probes here: promptreg linear-probe --root DATA --dataset oxford_pets" \
  "--config-file configs/trainers/CoOp/rn50.yaml; docs/commands.md says more" >&2
exit 2
