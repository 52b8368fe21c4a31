"""The errors a user can mend: each is one line saying what, where and what to do.

The command line (trainers/main.py) prints the message alone and leaves with the class's exit code;
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
