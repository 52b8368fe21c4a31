"""Class names as people write them: of folders, of tables, of the files classnames.json and classnames.txt."""
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from .files import read_json, read_lines
from .home import InputError

REMEDY = "correct or delete it"
WNID = re.compile(r"n\d{8}")
INDEX = re.compile(r"(\d+)\s+\S")


def tidy(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), without white space at its ends."""
    return unicodedata.normalize("NFC", name).strip()


def some(names: Iterable, most: int = 3) -> str:
    """Return the first few of ``names`` for a message."""
    names = list(names)
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def check_distinct(names: Mapping[str, str], where: str, remedy: str) -> str | None:
    """Return a warning for ``{key: class name}`` whose names differ in case alone, or None.

    Raises InputError where two keys have the same class name: CLIP could not tell these classes apart.
    """
    keys, folded = {}, defaultdict(set)
    for key, name in names.items():
        if keys.setdefault(name, key) != key:
            raise InputError(f"{where}: {keys[name]} and {key} are both named '{name}'; {remedy}")
        folded[name.casefold()].add(name)
    twins = [" and ".join(map(repr, sorted(group))) for group in folded.values() if len(group) > 1]
    return f"{where}: class names that differ in case alone, each a class of its own: {some(twins)}" if twins else None


def find_names_file(folder: str, parts: Iterable[str] = (), table: str | None = None) -> str | None:
    """Return the path of ``folder``'s classnames.json or classnames.txt (in any case), or None.

    Raises InputError for two of them, for one in one of the folders ``parts``, and for names almost like these (but
    for the ``table`` that is read, which may have any name), for all of these would have no effect.
    """
    found = []
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name.lower())
        if stem == "classnames" and ending in (".json", ".txt"):
            found.append(os.path.join(folder, name))
        elif re.sub(r"[\W_]", "", stem) == "classnames" and os.path.join(folder, name) != table:
            raise InputError(f"{os.path.join(folder, name)} is not read: rename it to classnames.json or "
                             "classnames.txt, or move it away")
    if len(found) > 1:
        raise InputError(f"{folder}: both {' and '.join(map(os.path.basename, found))}: keep one")
    for part in parts:
        below = find_names_file(os.path.join(folder, part))
        if below:
            raise InputError(f"{below} is not read: move it to {folder}")
    return found[0] if found else None


def read_names(path: str, keys: Collection[str]) -> dict[str, str]:
    """Return ``{key: class name}`` for those of ``keys`` (names of folders, or a table's classes) that ``path`` names.

    Raises InputError where entries match no key, unless all keys are named: a file may tell of more classes.
    """
    known = {tidy(key): key for key in keys}
    names, strange = (_from_json if path.lower().endswith(".json") else _from_text)(path, known)
    unnamed = [key for key in keys if key not in names]
    if strange and unnamed:
        raise InputError(f"{path}: {some(map(repr, strange))} match no class, while {some(unnamed)} stay without a "
                         f"name (the classes are {some(keys)}); {REMEDY}")
    return names


def _from_json(path, known):
    content = read_json(path, REMEDY)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        raise InputError(f"{path}: not of the form {{\"folder\": \"class name\", ...}}; {REMEDY}")
    empty = [key for key, name in content.items() if not name.strip()]
    if empty:
        raise InputError(f"{path}: '{empty[0]}' has an empty name; {REMEDY}")
    names, strange = {}, []
    for key, name in content.items():
        if tidy(key) in known:
            _enter(names, known[tidy(key)], tidy(name), path)
        else:
            strange.append(key)
    return names, strange


def _from_text(path, known):
    names, strange = {}, []
    lines = list(map(tidy, read_lines(path, REMEDY)))
    for line in lines:
        meanings = _meanings(line, known)
        if len(meanings) > 1:
            raise InputError(f"{path}: '{line}' can mean {some(f'{k!r} named {n!r}' for k, n in meanings)}: write "
                             "classnames.json instead")
        if meanings:
            _enter(names, known[meanings[0][0]], meanings[0][1], path)
        elif line not in known:
            strange.append(line)
        else:
            _enter(names, known[line], line, path)
    refuse_index([line.split(None, 1) for line in lines], path, REMEDY)
    return names, strange


def _meanings(line, known):
    """Return all (key, class name) that a line "key name" (or "key,name", "key: name") can mean."""
    found = []
    for separator in re.finditer(r"\s*[\s:,;=]\s*", line):
        if line[:separator.start()] in known and line[separator.end():]:
            found.append((line[:separator.start()], line[separator.end():]))
    return found


def _enter(names, key, name, path):
    if names.setdefault(key, name) != name:
        raise InputError(f"{path}: '{key}' is named both '{names[key]}' and '{name}'; {REMEDY}")


def refuse_index(pairs: Sequence[Sequence[str]], path: str, remedy: str) -> None:
    """Raise InputError where the names of ``pairs`` begin with an index of the class, as in ILSVRC's map_clsloc.txt."""
    found = [(key, INDEX.match(rest[0]) if rest else None) for key, *rest in pairs]
    numbers = {int(match[1]) for _, match in found if match}
    all_are = len(numbers) == len(found) > 1 and max(numbers) <= max(1000, len(found))
    if numbers and (all_are or any(match and WNID.fullmatch(key) for key, match in found)):
        raise InputError(f"{path}: the class names begin with a number, as in '{' '.join(pairs[0])}': remove the "
                         f"numbers, they would be read as part of the names; {remedy}")


def read_wnids(path: str, remedy: str) -> dict[str, str]:
    """Return ``{WNID: class name}`` in the order of the file's lines, "WNID NAME". Raises InputError."""
    names = {}
    pairs = [line.split(None, 1) for line in read_lines(path, remedy)]
    for pair in pairs:
        if len(pair) < 2 or not WNID.fullmatch(pair[0]):
            raise InputError(f"{path}: '{' '.join(pair)}' is not a WNID and a class name; {remedy}")
        if names.setdefault(pair[0], tidy(pair[1])) != tidy(pair[1]):
            raise InputError(f"{path}: {pair[0]} is named both '{names[pair[0]]}' and '{tidy(pair[1])}'; {remedy}")
    refuse_index(pairs, path, remedy)
    if len(names) > 1 and 2 * sum("," in name for name in names.values()) > len(names):
        raise InputError(f"{path}: lists of synonyms ('{next(iter(names.values()))}'), as in ILSVRC's "
                         f"synset_words.txt, instead of one name a class; {remedy}")
    return names
