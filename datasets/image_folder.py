"""ImageFolder: anybody's own images, as class folders or a CSV table."""
import os

from .base import FewShotDataset, register
from .checks import check_items
from .class_names import check_distinct, find_names_file, read_names, some, tidy
from .copies import refuse_copies
from .home import InputError
from .splits import (
    Item,
    Splits,
    list_folders,
    list_images,
    list_unread,
    read_class_folders,
    read_split_file,
    split_by_class,
)
from .table import SPELLINGS, read_table, rebased, split_of

OWN = ("split_fewshot",)  # in ROOT, and no class
LAYOUTS = "ImageFolder reads ROOT/CLASS/*.jpg or, where there are both, ROOT/{train,test}/CLASS/*.jpg"


@register
class ImageFolder(FewShotDataset):
    """Own images: DATASET.ROOT is a folder of class folders, or a CSV file.

    - ``ROOT/CLASS/*.jpg``: split 50/20/30 of each class by DATASET.SPLIT_SEED, once; the split is saved in ROOT.
    - ``ROOT/{train,val,test}/CLASS/*.jpg``: these splits (also spelled valid, validation, dev, Training, …); val may
      be missing.
    - ``ROOT = table.csv``, or a folder that holds one CSV and no class folders: columns ``path`` (or ``image``,
      ``file``, ``filename``; relative to the CSV's folder, ``../x.jpg`` too), ``class`` (or ``label``) and, if wanted,
      ``split`` (train, val or test; without it the images are split as above), separated by commas, semicolons or
      tabs.

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
        if not os.path.isdir(root) and not _table_of(root):
            raise InputError(f"ImageFolder: DATASET.ROOT {root} is neither a folder of class folders nor a CSV file")

    def _locate(self, root):
        super()._locate(root)
        self.table = _table_of(root)
        self.dataset_dir = self.image_dir = self.picture_dir = os.path.dirname(self.table) if self.table else root
        self.stem = os.path.splitext(os.path.basename(self.table))[0] if self.table else "ImageFolder"
        self.label = self.stem if self.table else os.path.basename(os.path.normpath(root)) or root
        self.remedy = "see docs/datasets.md for what ImageFolder reads"

    def load_splits(self):
        """Return the given splits, or those saved or made by the seed."""
        if self.table:  # each table and each seed has few-shot sets of its own
            self.fewshot += f"/{self.stem}"
        if self.split_seed != 1:
            self.fewshot += f"/seed_{self.split_seed}"
        where = self.table or self.dataset_dir
        given, items = self._read_table() if self.table else self._read_folders()
        if given:
            check_items(given, where, self.remedy)
            refuse_copies(given, self.picture_dir, "keep each picture in one split")
            self._note_untested(given)
            return given
        path = self.path(f"split_promptreg_{self.stem}-seed_{self.split_seed}.json")
        if not os.path.exists(path):
            splits = split_by_class(items, seed=self.split_seed)
            self._save_split(path, splits)
            return splits
        splits = self._named_as_now(read_split_file(path, "delete it, and it is made anew"), items, path)
        self._note_left_out(splits, items, path)
        return splits

    def _note_left_out(self, splits, items, path):
        kept = {item.path for split in splits for item in split}
        classes = {item.classname for split in splits for item in split}
        left = {item.path for item in items} - kept
        new = sorted({item.classname for item in items} - classes)
        if new:
            raise InputError(f"{path} was made before there was the class {some(new)}: delete it, and it is made anew")
        if left:
            self.note(f"{len(left)} images, {min(left)} first, came after {path} was made and are left out; delete it "
                      "to split anew")

    def _note_unread(self, folders):
        unread = [os.path.relpath(os.path.join(folder, name, file), self.dataset_dir) for folder in folders
                  for name in list_folders(folder, OWN) for file in list_unread(os.path.join(folder, name))]
        if unread:
            self.note(f"{self.label}: {len(unread)} of the pictures, {unread[0]} first, are not read, for their "
                      "format: convert to JPEG or PNG")

    def _note_untested(self, splits):
        tested = {item.label for item in splits.test}
        untested = {item.label: item.classname for item in splits.train if item.label not in tested}
        if untested:
            self.note(f"{self.label}: {len(untested)} classes have no test image: {some(untested.values())}")

    @staticmethod
    def _named_as_now(splits, items, path):
        """Return the saved split with the class names of today: only who is in which split was settled for good."""
        names = {item.path: item.classname for item in items}
        splits = Splits(*([item._replace(classname=names.get(item.path, item.classname)) for item in split]
                          for split in splits))
        check_items(splits, path, "the classes have changed since: delete it, and it is made anew")
        return splits

    def _read_folders(self):
        """Return (the Splits of train, val and test folders, None), or (None, the Items of class folders)."""
        folders = self._split_folders()
        if not folders:
            self._refuse_deeper(self.dataset_dir)
            names = self._names([list_folders(self.dataset_dir, OWN)])
            self._note_unread([self.dataset_dir])
            return None, read_class_folders(self.dataset_dir, OWN, names)
        for folder in folders.values():
            self._refuse_deeper(self.path(folder))
        self._note_unread(map(self.path, folders.values()))
        names = self._names([list_folders(self.path(folder), OWN) for folder in folders.values()], folders.values())
        train = read_class_folders(self.path(folders["train"]), OWN, names)
        labels = {item.classname: item.label for item in train}
        splits = {"train": [], "val": [], "test": []}
        for split, folder in folders.items():
            for item in train if split == "train" else read_class_folders(self.path(folder), OWN, names):
                if item.classname not in labels:
                    raise InputError(f"{self.path(folder, item.path.split('/')[0])}: no such class in "
                                     f"{self.path(folders['train'])}")
                splits[split].append(Item(f"{folder}/{item.path}", labels[item.classname], item.classname))
        return Splits(**splits), None

    def _split_folders(self):
        """Return ``{split: folder}`` where ROOT holds train and test folders, else None.

        Raises InputError for two folders of one split, and for one that looks like a split and would not be used.
        """
        folders = {}
        for name in list_folders(self.dataset_dir, OWN):
            split = split_of(name)
            if split and list_folders(self.path(name)):  # a class may be called "train", too
                if split in folders:
                    raise InputError(f"{self.dataset_dir}: both {folders[split]} and {name} can be the {split} split: "
                                     "keep one")
                folders[split] = name
        if "train" in folders and "val" in folders and "test" not in folders:
            raise InputError(f"{self.dataset_dir}: {folders['train']} and {folders['val']}, but no test: add a folder "
                             f"test, or rename {folders['val']} to it")
        if not {"train", "test"} <= set(folders):
            return None
        for name in list_folders(self.dataset_dir, OWN):
            if name not in folders.values() and _looks_like_a_split(name):
                raise InputError(f"{self.path(name)}: looks like a split and is not used: rename it to train, val or "
                                 f"test, or move it out of {self.dataset_dir}")
        unused = [name for name in list_folders(self.dataset_dir, OWN) if name not in folders.values()
                  and any(list_images(place) for place, _, _ in os.walk(self.path(name)))]
        if unused:
            self.note(f"{self.label}: the images in {some(unused)} are in no split and are not used")
        return folders

    def _refuse_deeper(self, folder):
        """Raise InputError for images in folders of class folders: they would be left out."""
        for name in list_folders(folder, OWN):
            for deeper in list_folders(os.path.join(folder, name)):
                deeper = os.path.join(folder, name, deeper)
                if any(list_images(place) for place, _, _ in os.walk(deeper)):
                    raise InputError(f"{deeper}: images in a folder of a class folder; {LAYOUTS}")

    def _read_table(self):
        """Return (the Splits that the CSV gives, None), or (None, its Items)."""
        self.picture_dir, rows = rebased(self.dataset_dir, read_table(self.table))
        classes = sorted({row.classname for row in rows})
        names, labels = self._names([classes]), {name: label for label, name in enumerate(classes)}
        items = [Item(row.path, labels[row.classname], names[row.classname]) for row in rows]
        if not rows[0].split:
            return None, items
        return Splits(*([item for item, row in zip(items, rows, strict=True) if row.split == split]
                        for split in Splits._fields)), None

    def _names(self, groups, parts=()):
        """Return ``{key: class name}`` of all keys in ``groups``: names of folders, or the table's classes.

        Raises InputError where two keys of a group, or two of the names, are the same.
        """
        where = self.table or self.dataset_dir
        for group in groups:
            check_distinct({repr(key): tidy(key) for key in group}, where, "they are one name: rename one")
        keys = sorted({tidy(key) for group in groups for key in group})
        path = find_names_file(self.dataset_dir, parts, self.table)
        names = {key: key for key in keys} | (read_names(path, keys) if path else {})
        alike = check_distinct(names, path or where, "give each class a name of its own")
        if alike:
            self.note(alike)
        return {key: names[tidy(key)] for group in groups for key in group}


def _table_of(root):
    """Return the path of the CSV that ROOT means: itself, or the only one in a folder without two class folders."""
    if os.path.isfile(root):
        return root if root.lower().endswith(".csv") else None
    tables = [name for name in os.listdir(root) if name.lower().endswith(".csv")] if os.path.isdir(root) else []
    if len(tables) == 1 and sum(bool(list_images(os.path.join(root, name))) for name in list_folders(root, OWN)) < 2:
        return os.path.join(root, tables[0])
    return None


def _looks_like_a_split(name):
    """Tell whether a folder's name has a split's in it: test2, val_new, train-extra."""
    return any(split_of(word) for word in tidy(name).casefold().replace("-", "_").split("_")) or any(
        tidy(name).casefold().rstrip("0123456789") == spelling for group in SPELLINGS.values() for spelling in group)
