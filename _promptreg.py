"""Starts the command ``promptreg``: arguments are parsed before torch is imported.

A package that this module was imported before registers its trainers when a command needs them, and not at once
(``utils.startup``): a typing error is answered in a fraction of a second, and a Python without torch in one line.
"""
import importlib
import sys


def main(argv=None):
    """Run one command; returns its exit code."""
    return _run("promptreg", argv)


def _run(package, argv=None):
    try:
        command = importlib.import_module(f"{package}.cli.main").main
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == package:
            raise
        print(f"error: this Python ({sys.executable}) has no {error.name}: activate the environment that has it (. "
              ".venv/bin/activate), or install PromptReg here (pip install -e .)", file=sys.stderr)
        return 3
    return command(argv)


if __name__ == "__main__":  # in a checkout, as scripts start it
    sys.modules["_promptreg"] = sys.modules["__main__"]
    sys.exit(_run("trainers"))
