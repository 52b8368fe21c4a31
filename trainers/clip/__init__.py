"""The frozen CLIP and its prompted encoders."""
from .load import FrozenCLIP, load_clip
from .tokens import arrange, clean, plain_rows, prompt_rows

__all__ = ["FrozenCLIP", "arrange", "clean", "load_clip", "plain_rows", "prompt_rows"]
