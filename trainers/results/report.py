"""One self-contained page: tables that sort, the pictures, every run's config and the end of its log."""
import base64
import html
import tempfile
from pathlib import Path

from ..utils import atomic
from . import plots, render
from .identity import encodable
from .line import line_of, shots_words
from .notes import Note, texts
from .table import TITLES, ordered_datasets

LOG_LINES = 200
MOST_NAMED = 3  # datasets in the page's title
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:80em;padding:0 1em;color:#1a1a1a;background:#fff}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}h3{font-size:1em;margin-bottom:.2em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}.runs table{font-size:12px}.runs td,.runs th{padding:.15em .5em}
.runs td:last-child{white-space:normal;overflow-wrap:anywhere;min-width:14em}
td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #e5e5e5;white-space:nowrap}
td:first-child,th:first-child,.word{text-align:left}
th button{all:unset;cursor:pointer;font-weight:600}
th button:focus-visible{outline:2px solid #0072b2}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
figure{margin:1em 0}img{max-width:100%;height:auto}
pre{background:#f5f5f5;padding:.8em;overflow:auto;max-height:30em;font-size:12px}
summary{cursor:pointer}.quiet{color:#555}
.notes{color:#555;margin:.3em 0;padding-left:1.3em}.notes li{overflow-wrap:anywhere}.notes li::marker{content:"⚠ "}
"""
SCRIPT = """
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.parentNode, table = head.closest("table"), body = table.tBodies[0];
  const number = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("number")
    || head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[number].dataset.value ?? row.cells[number].textContent;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)], [m, n] = [parseFloat(x), parseFloat(y)];
    if (isNaN(m) !== isNaN(n)) return isNaN(m) ? 1 : -1;
    const order = isNaN(m) ? x.localeCompare(y) : m - n;
    return down ? -order : order;
  };
  [...body.rows].sort(compare).forEach(row => body.append(row));
}));
"""
CAPTIONS = {"few_shot": "Accuracy over training images a class; bars are one standard deviation over seeds.",
            "base_new": "Base against new accuracy; dashed lines are of equal harmonic mean.",
            "gains": "What each class gains over zero-shot CLIP with the same weights, mean over seeds, in the one "
                     "setting named above the panels: that with the most runs. Losses are hatched.",
            "training": "Training loss of each epoch, mean over seeds; the band is from the least to the greatest."}


def sortable(heads, rows, words):
    """Return an HTML table; ``rows`` are of (text, sort value or None); ``words`` are the columns of text."""
    head = "".join(f'<th class="{"word" if n in words else "number"}"><button>{html.escape(text)}</button></th>'
                   for n, text in enumerate(heads))
    body = "".join("<tr>" + "".join(
        f'<td class="{"word" if n in words else "number"}"' + (f' data-value="{value!r}"' if value is not None else "")
        + f">{html.escape(text)}</td>" for n, (text, value) in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def results_table(table):
    """Return a section of one table: for several datasets a table a part (Base, New, H; a number of shots), so that
    sorting a column compares like with like."""
    parts = list(dict.fromkeys(row.part for row in table.rows))
    if len(table.columns) == 1 and len(parts) > 1:
        labels = list(dict.fromkeys(row.label for row in table.rows))
        column = table.columns[0]
        cells = [[(label, None), *(entry(table.cell(label, part, column)) for part in parts)] for label in labels]
        body = sortable(["Method", *parts], cells, [0])
    else:
        body = ""
        for part in parts:
            rows = [[(row.label, None), *map(entry, row.cells)] for row in table.rows if row.part == part]
            body += (f"<h3>{html.escape(part)}</h3>" if part else "") + sortable(
                ["Method", *map(render.column_name, table.columns)], rows, [0])
    return (f"<h2>{html.escape(render.title(table))}</h2>{body}"
            f'<p class="quiet">{html.escape(render.caption(table, "std"))}</p>{notes_list(table.notes)}')


def notes_list(notes):
    """Return notes as HTML; nothing without any."""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in texts(notes))
    return f'<ul class="notes">{items}</ul>' if items else ""


def entry(cell):
    """Return (text, sort value) of a table's cell."""
    return render.figure(cell), getattr(cell, "mean", None)


def image(path):
    """Return a picture as HTML, at the size its letters were made for."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big") * 110 // plots.DPI  # of the PNG's header
    caption = html.escape(CAPTIONS[path.stem])
    return (f'<figure><img alt="{caption}" width="{width}" '
            f'src="data:image/png;base64,{base64.b64encode(data).decode()}">'
            f"<figcaption>{caption}</figcaption></figure>")


def runs_table(runs):
    """Return the section of all runs, with all that tables tell rows apart by."""
    heads = ["Method", "Config", "Backbone", "Setting", "Dataset", "Classes", "Shots", "Seed", "Accuracy", "Seconds",
             "Peak MiB", "Run"]
    rows = []
    for run in runs:
        config = ", ".join(filter(None, (run.config, run.variant)))
        setting = TITLES[run.setting] + (f" from {render.column_name(run.source)}" if run.source else "")
        words = (run.method, config, line_of(run).backbone_words, setting, render.column_name(run.dataset), run.classes)
        split = f" ({run.split})" if run.split else ""
        rows.append([*((text, None) for text in words), (shots_words(run.shots), run.shots), (str(run.seed), run.seed),
                     (f"{run.accuracy:.2f}{split}", run.accuracy),
                     *((f"{run.content[key]:.0f}" if run.content.get(key) is not None else "–", run.content.get(key))
                       for key in ("seconds", "peak_memory_mib")), (run.folder, None)])
    return f'<h2>All runs</h2><div class="runs">{sortable(heads, rows, [*range(6), 11])}</div>'


def details(run):
    """Return a run's config, origin and the end of its log, folded."""
    log = Path(run.folder) / "log.txt"
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.is_file() else ["(no log.txt)"]
    notes = [Note(text) for text in run.content.get("notes") or []]
    versions = ", ".join(f"{k} {v}" for k, v in run.content.get("versions", {}).items() if v)
    return (f"<details><summary>{html.escape(run.folder)}: {run.accuracy:.2f}%</summary>"
            f'<p class="quiet">{html.escape(versions)}; commit {html.escape(str(run.content.get("git")))}</p>'
            f"{notes_list(notes)}"
            f"<h4>Config</h4><pre>{html.escape(str(run.content.get('config', '')))}</pre>"
            f"<h4>End of the log</h4><pre>{html.escape(chr(10).join(lines))}</pre></details>")


def headline(runs):
    """Return what the page is of: how many runs, on which datasets."""
    names = list(map(render.column_name, ordered_datasets(run.dataset for run in runs)))
    told = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} datasets"
    return f"Results on {told}, {len(runs)} run{'s' * (len(runs) > 1)}"


def page(runs, tables, missing=(), notes=()):
    """Return the whole page as text.

    Args:
        missing: calls of scripts that fill the tables' gaps; notes: why some gaps have none.
    """
    with tempfile.TemporaryDirectory() as folder:
        images = "".join(map(image, plots.write(runs, tables, folder)))
    gaps = f"<pre>{html.escape(chr(10).join(missing))}</pre>" if missing else ""
    gaps = f"<h2>Missing runs</h2>{gaps}{notes_list(notes)}" if gaps or notes else ""
    title = html.escape(headline(runs))
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">'
            f"<style>{STYLE}</style></head>"
            f"<body><h1>{title}</h1><p>A click on a column's head sorts by it.</p>"
            f"{''.join(map(results_table, tables))}{gaps}<h2>Pictures</h2>{images}{runs_table(runs)}"
            f"<h2>Configs and logs</h2>{''.join(map(details, runs))}<script>{SCRIPT}</script></body></html>")


def write(runs, tables, path, missing=(), notes=()):
    """Write the page to a file, whole or not at all."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, encodable(page(runs, tables, missing, notes)))
