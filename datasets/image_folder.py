"""ImageFolder: anybody's own images, as class folders or a CSV table."""
import csv
import logging
import os
import posixpath

from .base import FewShotDataset, register
from .home import InputError
from .splits import (
    Item,
    Splits,
    check_items,
    list_folders,
    list_images,
    read_class_folders,
    read_json,
    read_lines,
    read_split_file,
    split_by_class,
    write_split_file,
)

log = logging.getLogger("promptreg")
OWN = ("split_fewshot",)  # in ROOT, and no class


@register
class ImageFolder(FewShotDataset):
    """Own images: DATASET.ROOT is a folder of class folders, or a CSV file.

    - ``ROOT/CLASS/*.jpg``: split 50/20/30 of each class by DATASET.SPLIT_SEED, once; the split is saved in ROOT.
    - ``ROOT/{train,val,test}/CLASS/*.jpg``: these splits; val may be missing.
    - ``ROOT = table.csv`` with the columns ``path`` (relative to the CSV's folder), ``class`` and, if wanted,
      ``split`` (train, val or test; without it the images are split as above).

    Class names are the folders' names (the CSV's classes) or what ``classnames.json`` (``{"folder": "class name"}``)
    or ``classnames.txt`` (lines "folder class name") beside them makes of them.
    """

    split_seed = 1

    def __init__(self, cfg):
        self.split_seed = getattr(cfg.DATASET, "SPLIT_SEED", self.split_seed)
        super().__init__(cfg)

    @classmethod
    def check(cls, root):
        """Raise InputError where DATASET.ROOT is neither a folder nor a CSV file."""
        if not os.path.isdir(root) and not (root.endswith(".csv") and os.path.isfile(root)):
            raise InputError(f"ImageFolder: DATASET.ROOT {root} is neither a folder of class folders nor a CSV file")

    def _locate(self, root):
        super()._locate(root)
        self.table = root if root.endswith(".csv") else None
        self.dataset_dir = self.image_dir = os.path.dirname(root) if self.table else root
        self.remedy = "see docs/datasets.md for what ImageFolder reads"

    def load_splits(self):
        """Return the given splits, or those saved or made by the seed."""
        given = self._read_table() if self.table else self._read_split_folders()
        stem = os.path.splitext(os.path.basename(self.table))[0] if self.table else "ImageFolder"
        if self.table:  # each table and each seed has few-shot sets of its own
            self.fewshot += f"/{stem}"
        if self.split_seed != 1:
            self.fewshot += f"/seed_{self.split_seed}"
        if given:
            check_items(given, self.table or self.dataset_dir, self.remedy)
            return given
        items = self._read_all()
        path = self.path(f"split_promptreg_{stem}-seed_{self.split_seed}.json")
        if not os.path.exists(path):
            splits = split_by_class(items, seed=self.split_seed)
            try:
                write_split_file(path, splits)
            except OSError as error:
                log.warning("%s: cannot be saved (%s)", path, error.strerror)
                return splits
        splits = self._named_as_now(read_split_file(path, "delete it, and it is made anew"), items, path)
        left = {item.path for item in items} - {item.path for split in splits for item in split}
        if left:
            log.warning("%d images, %s first, came after %s was made and are left out; delete it to split anew",
                        len(left), min(left), path)
        return splits

    @staticmethod
    def _named_as_now(splits, items, path):
        """Return the saved split with the class names of today: only who is in which split was settled for good."""
        names = {item.path: item.classname for item in items}
        splits = Splits(*([item._replace(classname=names.get(item.path, item.classname)) for item in split]
                          for split in splits))
        check_items(splits, path, "the classes have changed since: delete it, and it is made anew")
        return splits

    def _read_all(self):
        if self.table:
            return self._rows
        return self._read_folder(self.dataset_dir)

    def _read_folder(self, folder):
        """Return the Items of class folders. Raises InputError for images further down: they would be left out."""
        for name in list_folders(folder, OWN):
            for deeper in list_folders(os.path.join(folder, name)):
                deeper = os.path.join(folder, name, deeper)
                if any(list_images(place) for place, _, _ in os.walk(deeper)):
                    raise InputError(f"{deeper}: images in a folder of a class folder; ImageFolder reads "
                                     "ROOT/CLASS/*.jpg or, where there are both, ROOT/{train,test}/CLASS/*.jpg")
        return read_class_folders(folder, OWN, self._names())

    def _read_split_folders(self):
        there = set(list_folders(self.dataset_dir, OWN))
        if there == {"train", "val"}:
            raise InputError(f"{self.dataset_dir}: train and val, but no test: add a folder test, or rename val to it")
        if not {"train", "test"} <= there:
            return None
        train, test = (self._read_folder(self.path(split)) for split in ("train", "test"))
        val = self._read_folder(self.path("val")) if "val" in there else []
        labels = {item.path.split("/")[0]: item.label for item in train}
        splits = []
        for split, items in zip(Splits._fields, (train, val, test), strict=True):
            strange = sorted({item.path.split("/")[0] for item in items} - set(labels))
            if strange:
                raise InputError(f"{self.path(split, strange[0])}: no such class in {self.path('train')}")
            splits.append([Item(f"{split}/{item.path}", labels[item.path.split("/")[0]], item.classname)
                           for item in items])
        return Splits(*splits)

    def _read_table(self):
        """Read the CSV into ``self._rows``; return Splits where it has a column for them."""
        try:
            with open(self.table, newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{self.table}: cannot be read as a CSV file in UTF-8 ({error})") from error
        for column in ("path", "class"):
            if not rows or column not in rows[0]:
                raise InputError(f"{self.table}: no column '{column}' in its first line, or no rows below")
        for number, row in enumerate(rows, start=2):
            if not row["class"] or not _leads_below(row["path"]):
                raise InputError(f"{self.table}: line {number}: needs a class and a path below {self.dataset_dir}")
        lines = {}
        for number, row in enumerate(rows, start=2):
            first = lines.setdefault(posixpath.normpath(row["path"].replace("\\", "/")), number)
            if first != number:  # it could be drawn for training and for the test
                raise InputError(f"{self.table}: lines {first} and {number} both name {row['path']}: remove one")
        names = self._names()
        labels = {name: label for label, name in enumerate(sorted({row["class"] for row in rows}))}
        self._rows, splits = [], Splits([], [], [])
        for number, row in enumerate(rows, start=2):
            item = Item(row["path"].replace("\\", "/"), labels[row["class"]], names.get(row["class"], row["class"]))
            self._rows.append(item)
            if "split" in row:
                if row["split"] not in Splits._fields:
                    raise InputError(f"{self.table}: line {number}: split '{row['split']}' is not train, val or test")
                getattr(splits, row["split"]).append(item)
        return splits if "split" in rows[0] else None

    def _names(self):
        as_json, as_text = self.path("classnames.json"), self.path("classnames.txt")
        if os.path.exists(as_json):
            names = read_json(as_json, "mend it or delete it")
            if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
                raise InputError(f"{as_json}: not of the form {{\"folder\": \"class name\", ...}}")
            return names
        if os.path.exists(as_text):
            pairs = (line.split(maxsplit=1) for line in read_lines(as_text, "mend it or delete it"))
            return {pair[0]: pair[-1] for pair in pairs}
        return {}


def _leads_below(path):
    """Tell whether ``path`` is one that stays in the folder it starts from."""
    parts = (path or "").replace("\\", "/").split("/")
    return bool(parts[0]) and ".." not in parts and "\0" not in path
