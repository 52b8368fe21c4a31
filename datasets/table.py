"""Reading the CSV table of a collection of one's own: which image is of which class and, if said, in which split."""
import csv
import io
import os
import posixpath
from collections import defaultdict
from typing import NamedTuple

from .class_names import some, tidy
from .files import parsed
from .home import InputError

SPELLINGS = {  # of a split, as folders and tables have them, in any case
    "train": ("train", "training", "trn"), "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "tst")}
SPLIT_OF = {spelling: split for split, spellings in SPELLINGS.items() for spelling in spellings}

COLUMNS = {  # what a column may be called
    "path": ("path", "image", "images", "image_path", "img", "file", "file_name", "filename", "filepath", "picture"),
    "class": ("class", "label", "labels", "category", "classname", "class_name")}


class Row(NamedTuple):
    path: str
    classname: str
    split: str | None


def split_of(name: str) -> str | None:
    """Return which split, train, val or test, a folder or cell of this name means, or None."""
    return SPLIT_OF.get(tidy(name).casefold())


def read_table(path: str) -> list[Row]:
    """Return the Rows of the CSV file ``path``: columns path, class and, if wanted, split.

    White space at the ends of cells is of no meaning. Raises InputError naming the lines that are wrong.
    """
    header, lines = _cells(path)
    rows = []
    for number, cells in lines:
        if len(cells) > len(header):
            raise InputError(f"{path}: line {number}: {len(cells)} cells below {len(header)} columns; put a cell that "
                             "holds a comma into quotes")
        cell = dict(zip(header, cells, strict=False))
        image = cell.get("path", "").replace("\\", "/")
        if not cell.get("class") or not _is_relative(image):
            raise InputError(f"{path}: line {number}: needs a class and a path relative to {os.path.dirname(path)}")
        if "split" in header and not split_of(cell.get("split", "")):
            raise InputError(f"{path}: line {number}: split '{cell.get('split', '')}' is not train, val or test")
        rows.append(Row(posixpath.normpath(image), tidy(cell["class"]), split_of(cell.get("split", ""))))
    _refuse_same_images(path, [number for number, _ in lines], rows)
    return rows


def _cells(path):
    """Return the column names in lower case, and (line number, cells) of all lines that are not empty."""
    lines = parsed(path, _lines, "cannot be read as a CSV file in UTF-8", "correct it")
    header = _known_columns([tidy(name).casefold() for name in lines[0][1]] if lines else [])
    for column in ("path", "class"):
        if column not in header or len(lines) < 2:
            raise InputError(f"{path}: no column '{column}' (or {', '.join(COLUMNS[column][1:])}) in its first line, "
                             "or no rows below")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two columns '{twice[0]}': keep one")
    if "split" not in header:
        _refuse_unnamed_split(path, header, [cells for _, cells in lines[1:]])
    return header, lines[1:]


def _lines(raw):
    text = raw.decode("utf-8-sig")
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [(reader.line_num, list(map(str.strip, cells))) for cells in reader if any(map(str.strip, cells))]


def _refuse_unnamed_split(path, header, rows):
    for number, name in enumerate(header):
        column = [cells[number] if number < len(cells) else "" for cells in rows]
        if name not in ("path", "class") and {split_of(cell) for cell in column} >= {"train", "test"}:
            raise InputError(f"{path}: the column '{name}' holds the splits: name it 'split', else it has no effect")


def _known_columns(header):
    """Return the header with the first column of each kind under its usual name, where none has that name."""
    for column, spellings in COLUMNS.items():
        name = next((spelling for spelling in spellings if spelling in header), None)
        header = [column if cell == name else cell for cell in header]
    return header


def _is_relative(path):
    """Tell whether ``path`` is one that starts from the table's folder; it may lead out of it."""
    return bool(path.split("/")[0]) and "\0" not in path and posixpath.normpath(path) not in (".", "..")


def rebased(folder, rows):
    """Return (folder that all rows' paths lie below, the Rows with paths from there): a table's, or one above it."""
    if not any(row.path.startswith("../") for row in rows):
        return folder, rows
    places = [os.path.normpath(os.path.join(folder, *row.path.split("/"))) for row in rows]
    above = os.path.commonpath([folder, *map(os.path.dirname, places)])
    return above, [row._replace(path=os.path.relpath(place, above).replace(os.sep, "/"))
                   for row, place in zip(rows, places, strict=True)]


def _refuse_same_images(path, numbers, rows):
    """Raise InputError where two lines name one image: it could be drawn for training and for the test."""
    first, folded = {}, defaultdict(list)
    for number, row in zip(numbers, rows, strict=True):
        if first.setdefault(row.path, number) != number:
            raise InputError(f"{path}: lines {first[row.path]} and {number} both name {row.path}: remove one")
        folded[row.path.casefold()].append(row.path)
    for spellings in folded.values():  # on disks that know no case, one file
        files = [os.path.join(os.path.dirname(path), *spelling.split("/")) for spelling in spellings]
        for other in files[1:]:
            if os.path.exists(files[0]) and os.path.exists(other) and os.path.samefile(files[0], other):
                raise InputError(f"{path}: {some(spellings)} are one image: remove all lines but one")
