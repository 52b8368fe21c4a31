"""How far a training is, on the terminal, while its own lines go into log.txt alone."""
import re
import sys
from typing import TextIO

from tqdm import tqdm

STEP = re.compile(r"epoch \[(\d+)/(\d+)\] batch \[(\d+)/(\d+)\].*?\bloss (\S+)")


class Progress:
    """Takes what a run prints and shows of it a bar: epochs, batches, loss, time left.

    Args:
        stream: where the bar is drawn; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream, self.line = stream or sys.stderr, ""
        self.bar: tqdm | None = None

    def write(self, text: str) -> int:
        """Take printed text."""
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            step = STEP.search(line)
            if step:
                self.show((int(step[1]), int(step[3])), (int(step[2]), int(step[4])), step[5])
        return len(text)

    def show(self, at: tuple[int, int], last: tuple[int, int], loss: str) -> None:
        """Move the bar to (epoch, batch) of the last ones, counted from 1."""
        (epoch, batch), (epochs, batches) = at, last
        if self.bar is None:
            terminal = self.stream.isatty()
            self.bar = tqdm(total=epochs * batches, desc="training", file=self.stream, unit="batch", leave=False,
                            initial=(epoch - 1) * batches, mininterval=0.2 if terminal else 30, dynamic_ncols=terminal)
        self.bar.set_postfix_str(f"epoch {epoch}/{epochs}, loss {loss}", refresh=False)
        self.bar.update((epoch - 1) * batches + batch - self.bar.n)
        if at == last:
            self.bar.close()

    def flush(self) -> None:
        """Do nothing: the bar draws itself."""

    def isatty(self) -> bool:
        return False
