from .wilds import *
