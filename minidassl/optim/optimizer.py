import warnings

import torch
from torch import nn

from ..utils import check_availability

AVAI_OPTIMS = ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]


def _staged(model, cfg):
    """Return parameter groups: the children named in NEW_LAYERS at LR, all others at LR * BASE_LR_MULT."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"OPTIM.STAGED_LR needs a module, whose children it tells apart, not {type(model).__name__}")
    model = model.module if isinstance(model, nn.DataParallel) else model
    new = [cfg.NEW_LAYERS] if isinstance(cfg.NEW_LAYERS, str) else cfg.NEW_LAYERS
    if not any(new):
        warnings.warn("OPTIM.STAGED_LR is set but OPTIM.NEW_LAYERS is empty: every layer learns at LR * BASE_LR_MULT",
                      stacklevel=3)
    groups = {True: [], False: []}
    for name, child in model.named_children():
        groups[name in new].extend(child.parameters())
    return [{"params": groups[False], "lr": cfg.LR * cfg.BASE_LR_MULT}, {"params": groups[True]}]


def build_optimizer(model, optim_cfg, param_groups=None):
    """Build the optimizer named ``optim_cfg.NAME``.

    Args:
        model: a module, or an iterable of parameters or of parameter groups.
        optim_cfg: the config's OPTIM node.
        param_groups: used in place of ``model`` where given; STAGED_LR then has no effect.

    Raises:
        ValueError: the name is unknown.
        TypeError: STAGED_LR without a module.
    """
    cfg = optim_cfg
    check_availability(cfg.NAME, AVAI_OPTIMS)
    if param_groups is not None:
        if cfg.STAGED_LR:
            warnings.warn("OPTIM.STAGED_LR has no effect on given parameter groups", stacklevel=2)
    elif cfg.STAGED_LR:
        param_groups = _staged(model, cfg)
    else:
        param_groups = model.parameters() if isinstance(model, nn.Module) else model

    common = {"lr": cfg.LR, "weight_decay": cfg.WEIGHT_DECAY}
    betas = (cfg.ADAM_BETA1, cfg.ADAM_BETA2)
    if cfg.NAME == "sgd":
        return torch.optim.SGD(param_groups, momentum=cfg.MOMENTUM, dampening=cfg.SGD_DAMPNING,
                               nesterov=cfg.SGD_NESTEROV, **common)
    if cfg.NAME == "rmsprop":
        return torch.optim.RMSprop(param_groups, momentum=cfg.MOMENTUM, alpha=cfg.RMSPROP_ALPHA, **common)
    if cfg.NAME == "radam":
        return torch.optim.RAdam(param_groups, betas=betas, **common)
    if cfg.NAME == "adamw":
        return torch.optim.AdamW(param_groups, betas=betas, **common)
    return torch.optim.Adam(param_groups, betas=betas, amsgrad=cfg.NAME == "amsgrad", **common)
