import logging

logging.disable(logging.WARNING)

from wilds import get_dataset

__all__ = ["get_dataset"]
