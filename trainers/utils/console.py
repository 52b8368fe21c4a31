"""How every command reports an error: one line, cause and remedy, and an exit code."""
import argparse
import contextlib
import errno
import functools
import os
import re
import select
import sys
from collections.abc import Callable
from logging import LogRecord
from pathlib import Path
from typing import Any, NoReturn, TextIO

from ..errors import InputError, PromptRegError, SetupError  # and no torch, which may be what is broken
from . import atomic

# What the system refuses for reasons that lie with the machine, and what to do about it.
REMEDIES = {errno.ENOSPC: "free some space and run the same command again",
            errno.EDQUOT: "free some of your quota and run the same command again",
            errno.EACCES: "correct its permissions, or choose another folder",
            errno.EPERM: "correct its permissions, or choose another folder",
            errno.EROFS: "choose a folder on another disk",
            errno.EIO: "the disk is failing: choose another",
            errno.ENOMEM: "free some memory and run the same command again",
            errno.EMFILE: "raise the limit of open files (ulimit -n)"}


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one line, without its usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"error: {escape_control_chars(message)}; all flags are listed by --help\n")


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of an error that the user can correct, or None for a bug of ours, which keeps its traceback.

    Errors meant for the user have an ``exit_code``: ours, and those of minidassl, which imports nothing of ours. The
    system says by OSError what it refuses.
    """
    code = getattr(type(error), "exit_code", None)
    if isinstance(code, int):
        return code
    if isinstance(error, (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return InputError.exit_code if error.filename else None
    if memory(error) or isinstance(error, OSError) and error.errno in REMEDIES:
        return SetupError.exit_code
    return None


def memory(error: BaseException) -> str | None:
    """Return which memory is full, if that is what the error says."""
    if type(error).__name__ == "OutOfMemoryError":  # torch.cuda's
        return "the GPU's memory"
    refused = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's word for it
    return "memory" if refused or isinstance(error, MemoryError) else None


def escape_control_chars(text: str) -> str:
    """Return a text with its control characters and line breaks written as escapes: no terminal obeys it."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: ascii(found[0])[1:-1], text)


def one_line(error: BaseException) -> str:
    """Return an error's message as one plain line."""
    if memory(error):
        return (f"{memory(error)} is full: lower DATALOADER.TRAIN_X.BATCH_SIZE, TRAINER.PROMPTREG.TEXT_MEMORY or "
                "IMAGE_MEMORY")
    if isinstance(error, OSError) and not isinstance(error, PromptRegError) and error.strerror:
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        return escape_control_chars(f"{where}{error.strerror}: {REMEDIES.get(error.errno or 0, 'choose another path')}")
    return escape_control_chars(" ".join(filter(None, map(str.strip, message(error).splitlines()))))


def message(error: BaseException) -> str:
    """Return an error's own words: of one that crossed from a loader's worker process, what its traceback ends with."""
    said = str(error).strip()
    if not (said.startswith("Caught ") and "\nOriginal Traceback " in said):
        return said
    _, named, words = said.rpartition(f"\n{type(error).__module__}.{type(error).__name__}: ")
    return words if named else said.splitlines()[-1]


def print_stderr(line: str) -> None:
    """Print a line, and no more, to standard error, which may itself be a file on the disk that is full."""
    with contextlib.suppress(OSError):
        print(escape_control_chars(line), file=sys.stderr, flush=True)


def plain_record(record: LogRecord) -> bool:
    """Filter of a logger: its messages on one line."""
    record.msg, record.args = escape_control_chars(record.getMessage()), ()
    return True


def setup_streams() -> None:
    """Let a command print whatever it may; called first by every command line.

    A stream that was closed swallows what is printed; one that cannot encode a name writes it with backslashes.
    """
    sys.stdout, sys.stderr = sys.stdout or open(os.devnull, "w"), sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def reader_closed() -> bool:
    """Return whether whoever read our output has gone: what ``| head`` does once it has seen enough."""
    watch = select.poll()
    try:
        watch.register(sys.stdout.fileno(), 0)
    except ValueError:  # a stream without a file
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))


def discard_stdout() -> None:
    """Let nothing more be printed: whoever read our output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Log:
    """Standard output that is also saved: from ``open`` on, in a file, so that nothing is written before all checks."""

    def __init__(self, console: TextIO) -> None:
        self.console, self.unwritten = console, []
        self.file: TextIO | None = None

    def write(self, text: str) -> int:
        self._to_console(lambda console: console.write(text))
        if self.file:
            with atomic.naming(self.file.name):
                self.file.write(text)
        else:
            self.unwritten.append(text)
        return len(text)

    def flush(self) -> None:
        self._to_console(lambda console: console.flush())
        if self.file:
            self.file.flush()

    def _to_console(self, act: Callable[[Any], Any]) -> None:
        try:
            act(self.console)
        except BrokenPipeError:  # whoever read it (head, say) has gone: the run goes on
            discard_stdout()

    def open(self, directory: str | Path) -> None:
        """Begin, or in a resumed run continue, ``directory``/log.txt."""
        os.makedirs(directory, exist_ok=True)
        self.file = open(Path(directory) / "log.txt", "a", buffering=1, encoding="utf-8", errors="surrogateescape",
                         opener=atomic.no_link)
        with atomic.naming(self.file.name):
            self.file.writelines(self.unwritten)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)


def cli_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a command line's ``main(argv)``: what a user can correct becomes one line and the exit code.

    Ctrl-C is 130; a reader that has seen enough (``| head``) is no error.
    """
    @functools.wraps(command)
    def main(argv: list[str] | None = None) -> int:
        setup_streams()
        try:
            code = command(argv)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            print_stderr("interrupted")
            return 130
        except Exception as error:
            if isinstance(error, BrokenPipeError) and reader_closed():
                discard_stdout()
                return 0
            code = exit_code(error)
            if code is None:
                raise
            print_stderr(f"error: {one_line(error)}")
            return code
    return main


def command(parser: Callable[[], Parser], run: Callable[[argparse.Namespace], int]) -> Callable[..., int]:
    """Return a command line's ``main(argv=None)``, which parses the words and runs; errors as of ``cli_errors``."""
    @cli_errors
    def main(argv: list[str] | None = None) -> int:
        return run(parser().parse_args(argv))
    return main
