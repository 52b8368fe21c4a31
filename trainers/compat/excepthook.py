"""In a host's own train.py: one line and an exit code for the errors that its user can correct, instead of a traceback.

Our command line catches them itself; a host calls ``build_trainer`` in a main of its own.
"""
import os
import sys
from types import TracebackType
from typing import Any

from ..errors import PromptRegError
from ..utils.console import one_line, print_stderr


def install() -> None:
    """Put our hook before the present ``sys.excepthook``, which is called for whatever is not ours."""
    previous = sys.excepthook
    if getattr(previous, "of_promptreg", False):
        return

    def hook(kind: type[BaseException], error: Any, trace: TracebackType | None) -> None:
        if not issubclass(kind, PromptRegError) or wants_traceback():
            previous(kind, error, trace)
            return
        if previous is not sys.__excepthook__:  # the host's own: it may log or send what it gets
            previous(kind, error, trace)
        print_stderr(f"error: {one_line(error)}")
        raise SystemExit(error.exit_code)
    hook.of_promptreg = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def wants_traceback() -> bool:
    """Return whether PROMPTREG_DEBUG or --debug asks for it, or somebody sits at Python's prompt, which must stay."""
    prompt = hasattr(sys, "ps1") or sys.flags.interactive or os.environ.get("PYTHONINSPECT")
    return bool(os.environ.get("PROMPTREG_DEBUG") or "--debug" in sys.argv[1:] or prompt)
