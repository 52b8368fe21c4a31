"""python -m trainers.results …"""
import sys

from ..cli.results import main

sys.exit(main())
