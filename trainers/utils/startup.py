"""When a command imports torch and the trainers: not before its arguments are parsed."""
import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from ..errors import SetupError
from .paths import PACKAGE


def load_package() -> None:
    """Register all trainers, which imports torch; called by a command's ``run`` before it imports what is heavy.

    Raises:
        SetupError: this Python lacks a package that is needed.
    """
    try:
        with _quiet_to_stop(), _uncollected():
            sys.modules[PACKAGE].load_trainers(own=True)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if not name or name in (PACKAGE, "datasets", "minidassl"):
            raise
        raise SetupError(f"this Python ({sys.executable}) has no {name}: activate the environment that has it (. "
                         ".venv/bin/activate), or install PromptReg here (pip install -e .)") from None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Meanwhile no garbage is collected, and none ever of what was imported: short commands take a third less."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # modules stay until the end, which need not look through them either
        if collects:
            gc.enable()


@contextlib.contextmanager
def _quiet_to_stop() -> Iterator[None]:
    """Meanwhile Ctrl-C ends the process where it is: nothing is done yet, and a traceback of imports helps nobody."""
    ours = (threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def as_module(verb: str, main: Callable[[], int | None]) -> int | None:
    """Run the command that ``python -m MODULE`` names, and say how it is called today."""
    print(f"note: this command is now: promptreg {verb}", file=sys.stderr)
    return main()
