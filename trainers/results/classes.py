"""A run's figures by class: accuracies, and which classes were taken for which."""
from __future__ import annotations

from .collect import Run
from .frame import run_figures
from .notes import listed

MOST_CLASSES = 100  # rows of a run's table of classes
LARGEST_MATRIX = 25  # classes of a confusion matrix that a page can hold


def class_rows(run: Run) -> list[list[tuple[str, float | None, bool]]]:
    """Return the rows of a sortable table of a run's classes, the lowest accuracy first; [] where none is recorded.

    Its columns are the class, accuracy in percent, correct, images, and what it was most often taken for.
    """
    figures, rows = run_figures(run), []
    confusion = figures.get("confusion", {})
    for name, count in figures.get("per_class", {}).items():
        if not count["total"]:
            continue
        accuracy = 100 * count["correct"] / count["total"]
        taken_for = sorted(confusion.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
        rows.append([(name, None, False), (f"{accuracy:.1f}", accuracy, False),
                     (str(count["correct"]), count["correct"], False), (str(count["total"]), count["total"], False),
                     (listed(f"{other} ({times})" for other, times in taken_for), None, False)])
    return sorted(rows, key=lambda row: row[1][1])


def confusion_rows(run: Run) -> dict | None:
    """Return a run's confusion matrix for a page; None where it is not recorded or has too many classes.

    Returns:
        {"names": [class, …], "rows": [(class, [(images, share of the class's images), …]), …]}.
    """
    figures = run_figures(run)
    counts, confusion = figures.get("per_class", {}), figures.get("confusion")
    if confusion is None or not 0 < len(counts) <= LARGEST_MATRIX:
        return None
    rows = []
    for name, count in counts.items():
        taken_for = {**confusion.get(name, {}), name: count["correct"]}
        rows.append((name, [(taken_for.get(other, 0), taken_for.get(other, 0) / max(count["total"], 1))
                            for other in counts]))
    return {"names": list(counts), "rows": rows}
