"""SIGTERM, SIGUSR1, SIGUSR2 (SLURM's warnings): finish the step, save, leave with a code of its own.

The command line alone installs the handler (``watched``). While a trainer holds (from an epoch's first batch until its
checkpoint is written) a signal waits until the trainer asks; at any other time it ends the run where it is, for what is
on disk is whole at every moment.
"""
import contextlib
import ctypes
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from ..errors import Interrupted

NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2")
PATIENCE = 5.0  # seconds in which a run that leaves is not disturbed; Python may also have swallowed what was raised
_holding = False
_came = None  # name of the signal that came
_left = -math.inf  # when one has ended the run, by time.monotonic()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """While it lasts, the signals of ``NAMES`` end the run by ``Interrupted``. Does nothing outside the main thread."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    _reset()
    before = {number: signal.signal(number, _handler(os.getpid())) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _reset()


def defer_signals() -> None:
    """Let signals wait from now on, until ``allow_signals``."""
    global _holding
    _holding = True


def signal_pending() -> bool:
    """Return whether a signal is waiting."""
    return _came is not None


def raise_interrupted(where: str) -> NoReturn:
    """Raise ``Interrupted`` for the signal that waited; ``where`` says what has been saved."""
    _end()
    raise Interrupted(f"interrupted by {_came}, {where}")


def allow_signals(where: str) -> None:
    """Signals need no longer wait; one that has waited ends the run now."""
    if signal_pending():
        raise_interrupted(where)
    _end()


def end_with_parent() -> None:
    """Have the system send SIGTERM once the process that started this one, torchrun's, is gone. On Linux alone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)  # 1: PR_SET_PDEATHSIG


def ignore(_worker: int | None = None) -> None:
    """In a loader's worker process: leave the signals, which may go to the whole group, to the main process."""
    for name in NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _handler(owner: int) -> Callable[[int, Any], None]:
    def take(number: int, _frame: Any) -> None:
        global _came, _left
        if os.getpid() != owner or time.monotonic() - _left < PATIENCE:  # a forked child; or the run is leaving
            return
        _came = signal.Signals(number).name
        if not _holding:
            _left = time.monotonic()
            raise Interrupted(f"interrupted by {_came}")
    return take


def _end() -> None:
    global _holding
    _holding = False


def _reset() -> None:
    global _came, _left
    _came, _left = None, -math.inf
    _end()
