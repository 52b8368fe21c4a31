"""Runs a step's commands in a fork of this process, which has imported everything: a run costs no imports.

A child is safe only of a parent with one thread that has left the GPU alone; ``prepare`` makes this process one.
"""
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import IO, Any

from .plan import Step

LATE = ("PIL.Image", "scipy.stats", "sklearn.metrics", "torch.utils.tensorboard")  # what runs import on their way
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def prepare() -> None:
    """Import what runs need, with one thread: the children are as many as the cores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    torch.set_num_threads(1)
    for name in LATE:
        importlib.import_module(name)
    sys.modules["PIL.Image"].init()


class Forked:
    """A child at work, with what the pool uses of ``subprocess.Popen``: pid, returncode, poll, wait."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self) -> int | None:
        return self._look(0)

    def _look(self, how: int) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, how)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def start(step: Step, console: IO[Any], environment: Mapping[str, str]) -> Forked:
    """Start a step's commands, one after the other until one fails, in a process group of their own."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Forked(pid)
    code = 1
    try:
        os.setpgid(0, 0)
        code = _child(step, console.fileno(), environment)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _child(step: Step, console: int, environment: Mapping[str, str]) -> int:
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for there, here in ((os.open(os.devnull, os.O_RDONLY), 0), (console, 1), (console, 2)):
        os.dup2(there, here)
    sys.stdout, sys.stderr = open(1, "w", buffering=1, closefd=False), open(2, "w", buffering=1, closefd=False)
    os.environ.update(environment)
    from ..training import run
    for command in step.commands:
        sys.argv = command[1:]  # which the result records
        code = run.main(command[command.index("--root"):])
        if code:
            return code
    return 0
