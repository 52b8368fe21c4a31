import os
import sys
import time

from .tools import mkdir_if_missing


class Logger:
    """A stream that writes to the console and to a file; put in place of ``sys.stdout``.

    Attributes:
        console: the stream that was ``sys.stdout`` before.
        file: the open log file, or None.
    """

    def __init__(self, fpath=None):
        self.console = sys.stdout
        self.file = None
        if fpath is not None:
            mkdir_if_missing(os.path.dirname(fpath))
            self.file = open(fpath, "w", buffering=1, encoding="utf-8")  # by lines: a killed run leaves a whole log

    def write(self, msg):
        self.console.write(msg)
        if self.file is not None:
            self.file.write(msg)
        return len(msg)

    def flush(self):
        self.console.flush()
        if self.file is not None:
            self.file.flush()

    def close(self):
        """Close the file. The console was open before and stays open."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __getattr__(self, name):  # encoding, isatty, fileno, …
        if name == "console":  # only reached before __init__ has set it
            raise AttributeError(name)
        return getattr(self.console, name)


def setup_logger(output=None):
    """Send all that is printed also to a log file, from now on.

    A log that exists is kept: the new one gets the time as a suffix. Where an earlier call's log is still being
    written, it ends here.

    Args:
        output: a folder (the log is ``log.txt`` in it), a path ending in .txt or .log, or None for no log.
    """
    if output is None:
        return
    path = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if os.path.exists(path):
        path += time.strftime("-%Y-%m-%d-%H-%M-%S")
    if isinstance(sys.stdout, Logger):
        sys.stdout.close()
        sys.stdout = sys.stdout.console
    sys.stdout = Logger(path)
