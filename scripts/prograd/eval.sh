#!/usr/bin/env bash
# ProGrad, cross-dataset and domain generalization: evaluate on DATASET what few_shot.sh imagenet CFG end 16 4 False
# has trained, for each of SEEDS. SHOTS, NCTX, CSC and CTP name other contexts.
source "$(dirname "$0")/../common.sh"
if [ $# -eq 1 ]; then set -- "$1" "${CFG:-${BACKBONE:-rn50}_ep50}"; fi
usage 2 "DATASET [CFG]" "$@"
shots=${SHOTS:-4} nctx=${NCTX:-16} csc=${CSC:-False} ctp=${CTP:-end}
coop_keys "$nctx" "$csc" "$ctp"
for seed in "${seeds[@]}"; do
  xd_test ProGrad "$2" "$shots" "$1" "$seed" "${LOADEP:-50}" "/nctx${nctx}_csc${csc}_ctp$ctp" \
    LOSS.LAMBDA "$(prograd_lambda imagenet "$shots")" "${keys[@]}"
done
