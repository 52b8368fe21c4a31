"""What a sweep shows while it works: a table of states and the time left, or, without a terminal, a line a job."""
import datetime
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .array import Array
from .pool import ELSEWHERE, FAILED, FINISHED, INTERRUPTED, RUNNING, WAITING, Pool

STATES = {FINISHED: "green", RUNNING: "cyan", WAITING: "dim", FAILED: "bold red", INTERRUPTED: "yellow",
          ELSEWHERE: "yellow"}


def duration(seconds: float | None) -> str:
    """Return seconds as 1:02:03, or "?" for None."""
    return "?" if seconds is None else str(datetime.timedelta(seconds=round(seconds))).removeprefix("0:")


def seconds_left(pool: Pool | Array) -> float | None:
    """Return an estimate of the time until all is done, or None before anything has ended, or where nothing runs."""
    @functools.cache
    def typical(method: str) -> float | None:
        own = [s for slug, s in pool.seconds.items() if method_of[slug] == method and pool.states[slug] == FINISHED]
        every = own or [s for slug, s in pool.seconds.items() if pool.states[slug] == FINISHED]
        return sum(every) / len(every) if every else None

    method_of = {job.slug: job.method for job in pool.jobs}
    ahead = [typical(job.method) for job in pool.jobs if pool.states[job.slug] == WAITING]
    for worker in pool.workers:
        if worker.job:
            passed, share = time.time() - worker.begin, worker.share
            whole = passed / share if share > 0.05 else typical(worker.job.method)
            ahead.append(None if whole is None else max(0.0, whole - passed))
    known = [seconds for seconds in ahead if seconds is not None]
    if len(known) < len(ahead) or ahead and not pool.places:
        return None
    return sum(known) / max(1, pool.places)


def states_table(pool: Pool | Array) -> Table:
    """Return a table of how many of each method's jobs are in which state."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("Method", no_wrap=True, overflow="ellipsis")
    shown = [state for state in STATES if state not in (INTERRUPTED, ELSEWHERE) or state in pool.states.values()]
    for state in shown:
        table.add_column(state, justify="right")
    for method in dict.fromkeys(job.method for job in pool.jobs):
        states = [pool.states[job.slug] for job in pool.jobs if job.method == method]
        counts = [(states.count(state), STATES[state]) for state in shown]
        table.add_row(method, *(Text(str(count), style) if count else Text("·", "dim") for count, style in counts))
    return table


def one_line_table(columns: int, shrinks: int = 0) -> Table:
    """Return an empty table without heads; where a row would need a second line, the first columns are cut."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for number in range(columns):
        table.add_column(no_wrap=number >= shrinks)
    return table


def cut(text: str, style: str = "") -> Text:
    """Return a text for a column that shrinks."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def bar(total: float, done: float, width: int) -> ProgressBar:
    """Return a bar in the colours of work and success; rich's own are close to the red of failure."""
    return ProgressBar(total, done, width=width, complete_style="cyan", finished_style="green")


def running_table(pool: Pool | Array) -> Table:
    """Return a table of the jobs at work, with a bar for each."""
    table = one_line_table(5, shrinks=2)
    for worker in pool.workers:
        if worker.job:
            share = worker.share
            table.add_row(cut(worker.job.name), cut(worker.step.words[0], "dim"), bar(1.0, share, 16),
                          f"{100 * share:3.0f}%", duration(time.time() - worker.begin))
    return table


def view(pool: Pool | Array, begin: float) -> Group:
    """Return all that is shown of a pool at work since ``begin`` (seconds since the epoch)."""
    share = sum(worker.share for worker in pool.workers if worker.job)
    ended = sum(state in (FINISHED, FAILED, INTERRUPTED, ELSEWHERE) for state in pool.states.values())
    whole = one_line_table(4)
    times = f"{duration(time.time() - begin)} passed, {duration(seconds_left(pool))} left"
    whole.add_row("All", bar(len(pool.jobs), ended + share, 28), f"{ended}/{len(pool.jobs)}", times)
    return Group(states_table(pool), Text(), running_table(pool), Text(), whole)


@contextmanager
def watching(console: Console) -> Iterator[Callable[[Pool | Array], None]]:
    """Yield the function that shows a pool."""
    begin = time.time()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            last = [0.0]

            def show(pool: Pool | Array) -> None:
                if time.time() - last[0] > 0.5 or RUNNING not in pool.states.values():
                    last[0] = time.time()
                    live.update(view(pool, begin), refresh=True)
            yield show
        return
    told = set()

    def tell(pool: Pool | Array) -> None:
        for job in pool.jobs:
            if job.slug in pool.seconds and job.slug not in told:
                told.add(job.slug)
                ended = sum(state in (FINISHED, FAILED, INTERRUPTED) for state in pool.states.values())
                console.print(f"[{ended}/{len(pool.jobs)}] {pool.states[job.slug]}: {job.name} "
                              f"({duration(pool.seconds[job.slug])}), {duration(seconds_left(pool))} left",
                              markup=False, highlight=False, soft_wrap=True)
    yield tell
