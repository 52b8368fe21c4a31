"""python -m trainers.sweep …: promptreg sweep."""
import sys

from ..cli.sweep import main
from ..utils.startup import as_module

sys.exit(as_module("sweep", main))
