"""The frozen CLIP and its prompted encoders."""
from .load import FrozenCLIP, load_clip
from .tokens import clean, pack, prompt_tokens, template_tokens

__all__ = ["FrozenCLIP", "pack", "clean", "load_clip", "template_tokens", "prompt_tokens"]
