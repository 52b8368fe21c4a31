"""Methods that only an ablation needs: entered in the registry where the study runs, not where it is imported."""
from ..base import register
from ..compat.registry import TRAINERS
from ..promptsrc import PromptSRC


class PromptSRCOneTemplate(PromptSRC):
    """PromptSRC whose frozen text is of one template: without the textual diversity of section 3.4."""

    TEMPLATES = ["a photo of a {}."]


def register_variants() -> None:
    """Enter the ablations' methods; entering them again changes nothing."""
    if PromptSRCOneTemplate.__name__ not in TRAINERS.entries:
        register(PromptSRCOneTemplate)
