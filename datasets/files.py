"""Writing to a data folder that others may write to at the same moment, or that may be gone the next."""
import contextlib
import os
import tempfile

try:
    import fcntl
except ImportError:  # not a POSIX system: writes stay atomic, only the work may be done twice
    fcntl = None


def _into_temporary(path, text):
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes files for their owner alone; data folders are shared.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def write_text(path, text):
    """Write ``text`` to ``path`` whole or not at all; parents are made. Raises OSError."""
    temporary = _into_temporary(path, text)
    try:
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text_once(path, text):
    """Write ``text`` to ``path`` unless somebody else did first; either way ``path`` is whole afterwards.

    Returns True where this call's text is the one that stands. Raises OSError.
    """
    temporary = _into_temporary(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        os.replace(temporary, path)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return True


@contextlib.contextmanager
def locked(folder):
    """Hold ``folder`` for this process; the system lets go of it however the process ends."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
