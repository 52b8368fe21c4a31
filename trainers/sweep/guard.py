"""Ends process groups when the process that feeds this one is gone, however it went.

Reads "+ID" and "-ID" lines from standard input; at its end the groups that are left get SIGTERM, then SIGKILL. A
program of its own, without imports that take time.
"""
import os
import signal
import sys
import time


def send(groups, number):
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            pass


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is what counts
    groups = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    if groups:
        send(groups, signal.SIGTERM)
        time.sleep(3)
        send(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
