"""Nearest words of each learned context token: python interpret_prompt.py CHECKPOINT TOPK [--backbone NAME]."""
import sys

import _promptreg  # noqa: F401  trainers parses the arguments before it imports torch
from trainers.cli.nearest_words import main

if __name__ == "__main__":
    sys.exit(main())
