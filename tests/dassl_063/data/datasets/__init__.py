from . import dg
