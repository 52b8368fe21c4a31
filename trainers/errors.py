"""The errors a user can mend: each is one line saying what, where and what to do.

The command line (trainers/training/run.py) prints the message alone and leaves with the class's exit code;
anything else is a defect of ours and keeps its traceback.
"""


class PromptRegError(Exception):
    """Base of every error that the user, not the programmer, can mend."""

    exit_code = 1


class InputError(PromptRegError):
    """What was asked for cannot be done as asked: a file, a flag, a config value, a data folder."""

    exit_code = 2


class EnvironmentFault(PromptRegError):
    """The machine is not fit for it: a missing or broken package, no device, a full disk."""

    exit_code = 3


class FolderInUse(EnvironmentFault):
    """Another run holds the output folder: what was asked is right, but not now."""


class Interrupted(BaseException):
    """SIGTERM or SIGUSR1 came; what has been done is saved, and the same command goes on from there.

    Like KeyboardInterrupt no Exception, so that no handler of failures swallows it.
    """

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later
