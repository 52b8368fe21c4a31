"""What values a config key accepts, declared beside the key: ``declare("MINE", N_CTX=Limited(16, at_least(1)))``."""
from collections.abc import Callable
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """What a value must be: `words` follow "it must be" in messages."""
    words: str
    fits: Callable[[Any], bool]

    def accepts(self, value: Any) -> bool:
        """Return whether a value of any type is within the limit."""
        try:
            return bool(self.fits(value))
        except TypeError:  # a list of words, say
            return False


class Limited(NamedTuple):
    """A key's default with its limit."""
    default: Any
    limit: Limit


def at_least(least: float, more: str = "") -> Limit:
    """Return the limit of finite numbers from `least` on; `more` is added to its words."""
    return Limit(f"at least {least}{more}", lambda value: least <= value < float("inf"))


def one_of(*names: Any) -> Limit:
    """Return the limit of a few values."""
    return Limit(f"one of {', '.join(map(str, names))}", names.__contains__)


POSITIVE = Limit("a positive number", lambda value: 0 < value < float("inf"))
PRECISIONS = one_of("fp32", "fp16", "amp", "bf16")
