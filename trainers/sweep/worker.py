"""A place where one of a sweep's jobs runs, and how far it is."""
import os
import re
from dataclasses import dataclass
from typing import Any

EPOCH = re.compile(rb"epoch \[(\d{1,9})/([1-9]\d{0,8})\] batch \[(\d{1,9})/([1-9]\d{0,8})\]")


@dataclass(eq=False)
class Worker:
    """A place where one job runs at a time; what is None here is set while one does."""

    environment: dict[str, str]
    job: Any = None
    step: Any = None
    process: Any = None
    lock: Any = None
    console: Any = None
    begin: float = 0.0

    @property
    def share(self) -> float:
        """How much of the job is done, 0 to 1, by its training's last line."""
        steps = self.job.steps
        done = self.job.steps.index(self.step)
        try:
            with open(self.console, "rb") as file:
                file.seek(max(0, os.path.getsize(self.console) - 4000))
                found = EPOCH.findall(file.read())
        except OSError:
            found = []
        inside = 0.0
        if found:
            epoch, epochs, batch, batches = map(int, found[-1])
            inside = min(1.0, max(0.0, (epoch - 1 + batch / batches) / epochs))
        # A training takes far longer than what evaluates it, in its own step and in those that follow.
        return 0.9 * inside if done == 0 else 0.9 + 0.1 * done / len(steps)
