"""Mutual agreement of a prompted model with its frozen self (PromptSRC, arXiv 2307.06948, section 3.2)."""
import torch.nn.functional as F
from torch import Tensor


def agreement(features: Tensor, frozen: Tensor) -> Tensor:
    """Mean absolute difference of features and frozen features, both [N, E] and L2-normalized (equations 3 and 4)."""
    return (features - frozen).abs().mean()


def logit_agreement(logits: Tensor, frozen_logits: Tensor) -> Tensor:
    """KL(softmax of frozen logits || softmax of logits), both [B, C], summed and divided by B * C (equation 5)."""
    log_p = F.log_softmax(frozen_logits, dim=-1)
    return (log_p.exp() * (log_p - F.log_softmax(logits, dim=-1))).sum() / logits.numel()
