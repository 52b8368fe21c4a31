"""python -m promptreg train|init|doctor …"""
import sys

from .cli import main

sys.exit(main())
