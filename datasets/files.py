"""Reading the files that datasets come with: text, JSON, MATLAB. What cannot be read is named, with its remedy."""
import contextlib
import json

from .home import InputError


def read_lines(path, remedy):
    """Return the lines of a text file without white space at their ends and without empty ones.

    Raises InputError naming the file and the ``remedy``.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line.strip() for line in file if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file ({error}); {remedy}") from error


def read_mat(path, name, remedy):
    """Return the variable ``name`` of a MATLAB file, as scipy reads it. Raises InputError, also where it is empty."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise InputError(f"{path}: reading it needs scipy: pip install scipy") from None
    try:
        content = loadmat(path)[name]
    except Exception as error:  # a damaged file can raise almost anything
        raise InputError(f"{path}: cannot be read as a MATLAB file with '{name}' in it ({error}); {remedy}") from error
    if not content.size:
        raise InputError(f"{path}: '{name}' in it is empty; {remedy}")
    return content


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' occurs twice")
    return found


def read_json(path, remedy):
    """Return what the JSON file ``path`` holds. Raises InputError naming the file and the ``remedy``."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file, object_pairs_hook=_unique)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); {remedy}") from error


@contextlib.contextmanager
def published_form(where, remedy):
    """Turn what a reader stumbles over in a file of another form than the published one into an InputError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{where}: of another form than the published one ({type(error).__name__}: {error}); "
                         f"{remedy}") from error
