"""python -m promptreg …: the command promptreg."""
import sys

from .cli import main

sys.exit(main())
