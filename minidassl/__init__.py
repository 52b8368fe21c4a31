"""minidassl: the interface of Dassl 0.6.3, written anew for current PyTorch.

It holds as much of Dassl (https://github.com/KaiyangZhou/Dassl.pytorch) as CoOp-style prompt-learning
repositories use, at the same module paths, with the same config keys, printed lines and use of random numbers,
so that a seed gives the same samples, permutations and learning rates. ``trainers/compat/engine.py`` makes it answer to
the name ``dassl`` where Dassl is not installed. What it leaves out is listed in docs/appendix/minidassl.md.
"""

__version__ = "0.6.3"
