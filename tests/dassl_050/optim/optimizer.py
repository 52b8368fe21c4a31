

_build = build_optimizer


def build_optimizer(model, optim_cfg):
    return _build(model, optim_cfg)
