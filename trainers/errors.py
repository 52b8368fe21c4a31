"""The errors that a user can correct: each is one line that says what is wrong, where, and what to do.

The command line (trainers/training/run.py) prints the message alone and leaves with the class's exit code;
anything else is a bug of ours and keeps its traceback.
"""


class PromptRegError(Exception):
    """Base of every error that the user, not the programmer, can correct."""

    exit_code = 1


class InputError(PromptRegError):
    """Invalid input: a file, a flag, a config value, a data folder."""

    exit_code = 2


class SetupError(PromptRegError):
    """A fault of the environment: a missing or broken package, no device, a full disk."""

    exit_code = 3


class OutputDirLocked(SetupError):
    """Another run is using the output folder."""


class Interrupted(BaseException):
    """SIGTERM, SIGUSR1 or SIGUSR2 came; what has been done is saved, and the same command goes on from there.

    Like KeyboardInterrupt no Exception, so that no handler of failures swallows it.
    """

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later
