"""Prompt learning for CLIP as Dassl trainers; importing this package registers all of them."""
from . import engine  # noqa: F401  settles which Dassl answers to the name, before anything asks

from . import cocoop, coop, gram, ivlp, kgcoop, maple, prograd, promptsrc, vpt, zsclip  # noqa: F401, E402
