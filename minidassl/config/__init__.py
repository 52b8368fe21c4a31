from .defaults import _C as cfg_default


def get_cfg_default():
    """Return a fresh, unfrozen copy of the default config."""
    return cfg_default.clone()


def clean_cfg(cfg, trainer):
    """Remove, in place, the config nodes of all trainers but ``trainer``, so that ``print(cfg)`` shows what counts."""
    for key in set(cfg.TRAINER) - {"NAME", trainer.upper()}:
        cfg.TRAINER.pop(key)
