"""python -m trainers.results …: promptreg results."""
import sys

from ..cli.results import main
from ..utils.startup import as_module

sys.exit(as_module("results", main))
