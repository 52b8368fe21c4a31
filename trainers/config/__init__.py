"""One config from defaults declared beside the methods, files and flags."""
from typing import Any

from ..compat import old_names


def __getattr__(name: str) -> Any:
    return old_names.attribute(__name__, name, "config.build config.yaml_text config.checks")
