"""Ends process groups when the process that feeds this one is gone, however it went.

Reads "+ID" and "-ID" lines from standard input; at its end the groups that are left get SIGTERM, upon which a run saves
and leaves, then SIGKILL. A program of its own, without imports that take time.
"""
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

PATIENCE = 15.0  # seconds that a run has to finish its step and save


def send(groups: Iterable[int], number: int) -> None:
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            pass


def left(groups: Iterable[int]) -> list[int]:
    """Return the groups that have processes."""
    found = []
    for group in groups:
        try:
            os.killpg(group, 0)
            found.append(group)
        except ProcessLookupError:
            pass
        except PermissionError:
            found.append(group)
    return found


def end(groups: Iterable[int], reap: Callable[[], object] = lambda: None) -> None:
    """End groups of processes. A script dies at once, so it is the group, its run too, that is waited for."""
    send(groups, signal.SIGTERM)
    deadline = time.time() + PATIENCE
    while left(groups) and time.time() < deadline:
        reap()
        time.sleep(0.05)
    finish(groups, reap)


def finish(groups: Iterable[int], reap: Callable[[], object] = lambda: None) -> None:
    """Kill groups of processes and wait until they are gone: a large one takes a while, and holds its lock so long."""
    send(groups, signal.SIGKILL)
    deadline = time.time() + 5  # where nobody takes note of their end they stay
    while left(groups) and time.time() < deadline:
        reap()
        time.sleep(0.02)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is what counts
    groups = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end(groups)


if __name__ == "__main__":
    main()
