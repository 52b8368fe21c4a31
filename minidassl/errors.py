"""Errors whose message is meant for the user: one line that names the config key or the file.

minidassl stands alone, so a command line that wants to print such an error without its traceback recognises it by
``exit_code``, an attribute of the class that Python's own exceptions do not have.
"""


class MiniDasslError(Exception):
    """Base of all errors that the user can correct."""

    exit_code = 2


class ConfigError(MiniDasslError, ValueError):
    """A config value that does not fit the data, the model or the other values."""


class MissingFileError(MiniDasslError, FileNotFoundError):
    """An image, checkpoint or folder that does not exist."""


class DamagedFileError(MiniDasslError, OSError):
    """A file that exists and cannot be read as what it should be."""


class DamagedJSONError(MiniDasslError, ValueError):
    """A file that is not valid JSON."""
