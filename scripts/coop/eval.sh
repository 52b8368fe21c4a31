#!/usr/bin/env bash
# CoOp, cross-dataset and domain generalization: evaluate on DATASET what main.sh imagenet CFG end 16 16 False
# has trained, for each of SEEDS. SHOTS, NCTX, CSC and CTP name other contexts.
source "$(dirname "$0")/../common.sh"
if [ $# -eq 1 ]; then set -- "$1" "${CFG:-${BACKBONE:-rn50}_ep50}"; fi
usage 2 "DATASET [CFG]" "$@"
shots=${SHOTS:-16} nctx=${NCTX:-16} csc=${CSC:-False} ctp=${CTP:-end}
coop_keys "$nctx" "$csc" "$ctp"
for seed in "${seeds[@]}"; do
  xd_test CoOp "$2" "$shots" "$1" "$seed" "${LOADEP:-50}" "/nctx${nctx}_csc${csc}_ctp$ctp" \
    "${keys[@]}"
done
