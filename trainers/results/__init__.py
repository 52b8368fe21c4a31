"""The tables, pictures and report of many runs, and what papers print."""
from ..compat import old_names


def __getattr__(name):
    return old_names.attribute(__name__, name, "training.result")
