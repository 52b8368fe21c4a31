"""Dynamic loss scaling for PREC amp, kept as two numbers that a checkpoint can hold."""
import torch


class LossScale:
    """Multiplies the loss so that half-precision gradients do not vanish (Micikevicius et al., arXiv 1710.03740).

    Attributes:
        scale: the present factor, a power of two.
        good: steps since it last changed.
    """

    def __init__(self, scale=2.0 ** 16, double_after=2000):
        self.scale, self.good, self.double_after = scale, 0, double_after

    def accept(self, grads):
        """Tell whether all (unscaled) gradients are finite, and so may be used; adapt the scale for the next step."""
        finite = all(bool(torch.isfinite(g).all()) for g in grads if g is not None)
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale = max(self.scale / 2, 1.0)
        elif self.good == self.double_after:
            self.scale, self.good = self.scale * 2, 0
        return finite
