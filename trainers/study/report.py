"""What the study's finished runs come to: the papers' tables, the ablations, the claims; as text, page and JSON."""
import datetime
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..results import compare, plots, render, report
from ..results.collect import Run, collect
from ..results.published import ZERO_SHOT
from ..results.table import Table, tables
from ..utils import atomic, pages
from .claims import CLAIMS, MEASURES, Claim, Judged, Rows, against, judge, values
from .plan import ABLATIONS, SOURCE, Ablation, ablation_folder, main_folder
from .statistics import difference, smallest

SEEDS = (3, 5, 10)  # for which the smallest difference is told
HEADS = ["Paper", "Claim", "On", "Difference", "95% interval", "Pairs", "Published", "Verdict"]


@dataclass(frozen=True)
class Study:
    """All that the page shows.

    Attributes:
        runs: of the four settings; rows: {name: runs} with the ablations'.
    """

    runs: list[Run]
    rows: Rows
    tables: list[Table]
    claims: list[Judged]


def read(out: str, pair: tuple[str, str] | None = None) -> Study:
    """Return what the finished runs below a study's folder come to.

    Args:
        pair: two methods to compare in place of the papers' claims.
    """
    runs = collect([main_folder(out)])
    # where methods are trained on the source by their few-shot script, that is no few-shot figure
    targets = [run for run in runs if run.setting != "few_shot" or run.dataset != SOURCE]
    rows: dict[str, list[Run]] = {}
    for run in targets:
        rows.setdefault(run.method, []).append(run)
    for ablation in ABLATIONS:
        if os.path.isdir(folder := ablation_folder(out, ablation)):
            rows[ablation.name] = collect([folder])
    made = [*tables(runs, ("base2new",)), *tables(targets, ("few_shot",)), *tables(runs, ("xd", "dg"))]
    return Study(runs, rows, made, judge(against(*pair) if pair else CLAIMS, rows, compare.published()))


def claims_table(judged: Sequence[Judged]) -> list[list[str]]:
    """Return the claims as rows of text, the columns HEADS."""
    rows = []
    for one in judged:
        found = one.found
        interval = "–" if found is None or found.low is None else f"{found.low:+.2f} to {found.high:+.2f}"
        pairs = "–" if found is None else f"{found.pairs} over {found.datasets}"
        rows.append([one.claim.paper, one.claim.text, MEASURES[one.claim.measure],
                     "–" if found is None else f"{found.mean:+.2f}", interval, pairs,
                     "–" if one.published is None else f"{one.published:+.2f}", one.verdict])
    return rows


def ablation_table(rows: Rows, ablations: Sequence[Ablation] = ABLATIONS) -> list[list[str]]:
    """Return the ablations as rows of text: name, base, new and H, means over the pairs that all rows have."""
    found = []
    for method in dict.fromkeys(ablation.method for ablation in ablations):
        names = [*(ablation.name for ablation in ablations if ablation.method == method), method]
        names = ["IVLP", *names] if method == "PromptSRC" else names
        held = [{measure: values(rows, name, measure) for measure in ("base", "new", "H")} for name in names]
        shared = set.intersection(*(set(one["H"]) for one in held))
        if shared:
            found += [[name, *(f"{statistics.fmean(one[measure][key] for key in shared):.2f}" for measure in one)]
                      for name, one in zip(names, held, strict=True)]
    return found


def smallest_table(rows: Rows, method: str) -> list[list[str]]:
    """Return, of a method against each other one, what seeds can tell apart in H: rows of text."""
    found = []
    for other in rows:
        pair = difference(values(rows, method, "H"), values(rows, other, "H"))
        if other != method and pair and pair.pairs > pair.datasets > 1:
            told = [smallest(pair, seeds) for seeds in SEEDS]
            found.append([f"{method} against {other}", f"{pair.between:.2f}", f"{pair.within:.2f}",
                          *(f"{low:.2f} ({high:.2f})" for low, high in told)])
    return found


SMALLEST_HEADS = ["H of", "Between datasets", "Between seeds", *(f"{seeds} seeds" for seeds in SEEDS)]
SMALLEST_WORDS = ("Points of H: an observed difference above the first figure is told apart, a true one of the figure "
                  "in brackets in four of five studies.")


def sections(study: Study, method: str) -> list[dict[str, Any]]:
    """Return the study's own tables: {"title", "heads", "rows", "words", "caption"}."""
    made = [{"title": "Claims", "heads": HEADS, "rows": claims_table(study.claims), "words": [0, 1, 2, 7],
             "caption": "Points; Student's interval over the datasets' means (of fewer than three: over seeds). "
                        "\"Not below\" allows one point."},
            {"title": "Ablation, base-to-new", "heads": ["Row", "Base", "New", "H"], "words": [0],
             "rows": ablation_table(study.rows), "caption": "Means over datasets and seeds that all rows have."},
            {"title": "Smallest difference", "heads": SMALLEST_HEADS, "rows": smallest_table(study.rows, method),
             "words": [0], "caption": SMALLEST_WORDS}]
    return [section for section in made if section["rows"]]


def show(study: Study, method: str) -> None:
    """Print all tables."""
    from rich.table import Table as Rich
    console = render.console()
    for table in study.tables:
        render.terminal(table, console)
    for section in sections(study, method):
        console.print(section["title"], style="bold")
        shown = Rich()
        for number, head in enumerate(section["heads"]):
            shown.add_column(head, justify="left" if number in section["words"] else "right", overflow="fold")
        for row in section["rows"]:
            shown.add_row(*row)
        console.print(shown)
        console.print(section["caption"], style="dim", soft_wrap=True)


def write(study: Study, out: str, method: str, seconds: float | None) -> None:
    """Write the page, the data and the pictures below a study's folder."""
    own = sections(study, method)
    seeds = sorted({run.seed for run in study.runs if run.method not in ZERO_SHOT})
    made = datetime.datetime.now(datetime.timezone.utc)
    data = {"date": f"{made:%Y-%m-%dT%H:%M:%SZ}", "promptreg": __version__, "machine": machine(), "seeds": seeds,
            "runs": len(study.runs), "seconds": seconds, "claims": [one.as_dict() for one in study.claims],
            "ablation": ablation_table(study.rows), "smallest": smallest_table(study.rows, method),
            "tables": render.as_csv(study.tables).splitlines()}
    atomic.write_file(Path(out) / "study.json", json.dumps(data, indent=1))
    plots.write_plots(study.runs, study.tables, Path(out) / "pictures")
    own = [{**section, "rows": sortable(section["rows"])} for section in own]
    text = pages.render(
        __package__, "study.html", title="The study", made=data["date"], machine=data["machine"], versions=__version__,
        seeds=seeds, count=len(study.runs), sections=own,
        tables=[report.results_table(table) for table in study.tables],
        images=report.pictures(study.runs, study.tables))
    atomic.write_file(Path(out) / "study.html", text)


def sortable(rows: Sequence[Sequence[str]]) -> list[list[report.Entry]]:
    """Return rows of text as those of a table that sorts by the number which a text begins with."""
    def number(text: str) -> float | None:
        try:
            return float(text.split()[0])
        except (ValueError, IndexError):
            return None
    return [[(text, number(text), False) for text in row] for row in rows]


def machine() -> str:
    """Return the processor and how many cores there are for this process."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


__all__ = ["Claim", "Study", "machine", "read", "show", "write"]
