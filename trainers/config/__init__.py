"""One config from defaults declared beside the methods, files and flags."""
from ..compat import old_names


def __getattr__(name):
    return old_names.attribute(__name__, name, "config.build config.yaml_text config.checks")
