"""The sweep's side of the program guard.py, which ends what is left of a sweep that was killed outright."""
import subprocess
import sys
from contextlib import suppress

from . import guard


class ChildReaper:
    """Has guard.py end process groups should this process be killed outright; has another where it is killed itself."""

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self.process: subprocess.Popen[str] | None = None

    def add(self, group: int) -> None:
        self.groups.add(group)
        self.tell(f"+{group}")

    def discard(self, group: int) -> None:
        self.groups.discard(group)
        self.tell(f"-{group}")

    def tell(self, line: str) -> None:
        if self.process:
            with suppress(BrokenPipeError):  # it is gone: the next will be told
                print(line, file=self.process.stdin)

    def renew(self) -> None:
        """Start the program where none runs; tried again at every call, should there be no memory for it."""
        if self.process and self.process.poll() is None:
            return
        self.close()
        with suppress(OSError):
            self.process = subprocess.Popen([sys.executable, "-S", "-E", guard.__file__], stdin=subprocess.PIPE,
                                            text=True, start_new_session=True, bufsize=1)
        for group in self.groups:
            self.tell(f"+{group}")

    def close(self) -> None:
        """Let the program end what is left, and itself."""
        if self.process:
            with suppress(BrokenPipeError):
                self.process.communicate()  # closes its input
            self.process = None
