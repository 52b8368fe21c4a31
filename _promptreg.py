"""Starts the command ``promptreg``: arguments are parsed before torch is imported.

A package that this module was imported before registers its trainers when a command needs them, and not at once
(``utils.startup``): a typing error is answered in a fraction of a second, and a Python without torch in one line.
"""
import importlib
import sys


def main(argv=None):
    """Run one command; returns its exit code."""
    return importlib.import_module("promptreg.cli.main").main(argv)


if __name__ == "__main__":  # in a checkout, as scripts start it
    sys.modules["_promptreg"] = sys.modules["__main__"]
    sys.exit(importlib.import_module("trainers.cli.main").main())
