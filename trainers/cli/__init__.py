"""The command lines, one a file."""
from .main import main
