#!/usr/bin/env bash
# What GRAM's scripts share. Taken from the environment where set there:
#   TRAINER  UNIGRAM (default), GRAMCoOp, GRAMCoCoOp, GRAMVPT, GRAMProGrad, GRAMPromptSRC
#   META     meta-trained file; default: the config's
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
trainer=${TRAINER:-UNIGRAM}
# shellcheck disable=SC2034  # read by the scripts
meta=()
# shellcheck disable=SC2034
if [ -n "${META:-}" ]; then meta=(TRAINER.GRAM.META "$META"); fi

# config SETTING: the trainer's config for base2new, xd or few_shot; CFG wins.
config() {
  if [ -n "${CFG:-}" ]; then
    echo "$CFG"
    return
  fi
  case $trainer:$1 in
    GRAMPromptSRC:few_shot) echo vit_b16_c2_ep50_batch4_4+4ctx_few_shot ;;
    UNIGRAM:* | GRAMPromptSRC:*) echo vit_b16_c2_ep20_batch4_4+4ctx ;;
    GRAMVPT:*) echo vit_b16_c2_ep5_batch4_4 ;;
    GRAMCoCoOp:*) echo vit_b16_c4_ep10_batch1_ctxv1 ;;
    GRAMCoOp:* | GRAMProGrad:*) echo vit_b16_ep50_ctxv1 ;;
    *)
      echo "TRAINER $trainer: choose UNIGRAM, GRAMCoOp, GRAMCoCoOp, GRAMVPT, GRAMProGrad or GRAMPromptSRC" >&2
      exit 2
      ;;
  esac
}
