"""python -m trainers.sweep …"""
import sys

from ..cli.sweep import main

sys.exit(main())
