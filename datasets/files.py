"""One process at a time at what must not be done twice in a data folder."""
import contextlib
import os

from .home import atomic

try:
    import fcntl
except ImportError:  # not a POSIX system: the work may be done twice; files are whole all the same
    fcntl = None


@contextlib.contextmanager
def locked(folder):
    """Hold ``folder`` for this process; the system lets go of it however the process ends."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "a", opener=atomic.no_link) as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
