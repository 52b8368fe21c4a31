"""The base of every dataset here: a subclass says where things are and how names are read, the rest stands once."""
import logging
import os
from difflib import get_close_matches

from yacs.config import CfgNode

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum

from .checks import check_items, fingerprint, shortfalls
from .fewshot import choose_classes, few_shot
from .home import InputError, SharedRegistry, untrusted
from .splits import Splits, read_split_file, under, write_split_file

log = logging.getLogger("promptreg")
DATASETS = SharedRegistry(DATASET_REGISTRY)
CLASSES = DATASETS.entries  # registered name -> class, our own only
register = DATASETS.add  # class decorator: register a dataset, unless the host repository has its own of that name


def data_root(cfg: CfgNode) -> str:
    """Return the absolute path of DATASET.ROOT. Raises InputError where it is empty."""
    if not cfg.DATASET.ROOT:
        raise InputError("DATASET.ROOT is empty: say where the data lie, with --root DATA")
    return os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))


def sampling_options(cfg: CfgNode) -> tuple[int, int, str]:
    """Return (shots, seed, which classes) of a config, checked. Raises InputError.

    Shots are 0 for the whole training split (Dassl's default, -1, means the same).
    """
    shots, which = cfg.DATASET.NUM_SHOTS, getattr(cfg.DATASET, "SUBSAMPLE_CLASSES", "all")
    if shots < -1:
        raise InputError(f"DATASET.NUM_SHOTS {shots}: give a number of images a class, or -1 for all")
    if which not in ("all", "base", "new"):
        raise InputError(f"DATASET.SUBSAMPLE_CLASSES {which}: choose all, base or new")
    return max(shots, 0), cfg.SEED, which


def prepare_command(name: str, root: str) -> str:
    """Return the command line that fetches and arranges a dataset."""
    return f"promptreg data fetch {name} --root {root}"


def check_command(name: str, root: str) -> str:
    """Return the command line that counts and reads every image of a dataset."""
    return f"promptreg data check {name} --root {root}"


class FewShotDataset(DatasetBase):
    """A dataset with fixed splits, few-shot training sets, and base and new classes.

    Args:
        cfg: a Dassl config; read are DATASET.ROOT, DATASET.NUM_SHOTS (images a class, -1 for all),
            DATASET.SUBSAMPLE_CLASSES ("all", "base", "new") and SEED (names the cached few-shot set; the draw
            itself uses Python's global random state, which Dassl's ``set_random_seed`` has set),
            DATASET.ALLOW_INCOMPLETE (use what is there where it is not what was published).

    Attributes:
        label: what people call the dataset.
        fingerprint: hash of the whole dataset (see ``checks.fingerprint``), wherever it lies.
        notes: what belongs to every figure measured on it: warnings, a line each.

    A subclass gives the class attributes below and `read`. Raises InputError wherever a file is missing, damaged
    or at odds with another.
    """

    folder = ""          # of the dataset, under DATASET.ROOT
    images = ""          # in it, the folder that the paths in its split file start from
    needs = ()           # in it, what must be there in any case
    annotations = ()     # in it, what must be there besides where there is no split file
    split_file = None    # in it, the published split; None where the annotations are the split
    val_is_test = False  # no validation split of its own
    test_only = False    # no training split: the test images stand in for it, and are never sampled
    published = {}       # images in each split and "classes", as published
    sources = ()         # download.Source, each a part of the dataset
    copy = None          # download.Source of the whole, for when the original links are dead
    by_hand = ()         # steps for what may not be downloaded by a program
    fewshot = "split_fewshot"  # in the folder, where few-shot sets are kept

    def __init__(self, cfg: CfgNode) -> None:
        splits = self._sample(cfg)
        train, val, test = ([self._datum(item) for item in items] for items in splits)
        which = sampling_options(cfg)[2]
        for kind, items in (("training", train), ("evaluation", test)):
            if not items:
                raise InputError(f"the {kind} set of {type(self).__name__} has no images: it needs some of "
                                 + ("every class" if which == "all" else f"the {which} classes"))
        super().__init__(train_x=train, val=(test if self.val_is_test else val) or None, test=test)

    @classmethod
    def peek(cls, cfg: CfgNode) -> tuple["FewShotDataset", Splits]:
        """Return (the dataset without images, the Splits of a config's run), and write nothing."""
        self = cls.__new__(cls)
        self.split_seed, self.writes = getattr(cfg.DATASET, "SPLIT_SEED", 1), False
        return self, self._sample(cfg)

    writes = True  # whether splits and few-shot sets that were made are saved

    def _sample(self, cfg):
        """Return the Splits of a config's run: few-shot sets, base or new classes."""
        shots, seed, which = sampling_options(cfg)
        self.check(data_root(cfg))
        splits = self._open(data_root(cfg), bool(getattr(cfg.DATASET, "ALLOW_INCOMPLETE", False)))
        if shots and not self.test_only:
            splits = few_shot(splits, shots, seed, self.path(*self.fewshot.split("/")), self.writes)
        return choose_classes(splits, which)

    def _save_split(self, path, splits):
        if self.writes:
            try:
                write_split_file(path, splits)
            except OSError as error:
                log.warning("%s: cannot be saved (%s)", path, error.strerror)

    def _open(self, root, allow_incomplete):
        """Return the whole Splits under ``root``; ``allow_incomplete`` None: whether it is complete is not asked."""
        self.label, self.notes, self.allow_incomplete = type(self).__name__, [], allow_incomplete
        self._locate(root)
        splits = self.load_splits()
        self.fingerprint = fingerprint(splits)
        return splits

    def note(self, text: str) -> None:
        """Warn of something that belongs to every figure measured on this dataset."""
        log.warning("%s", text)
        self.notes.append(text)

    def _locate(self, root):
        self.dataset_dir = os.path.normpath(os.path.join(root, self.folder))
        self.image_dir = os.path.join(self.dataset_dir, self.images)
        self.picture_dir = self.dataset_dir  # that items' paths start from
        self.command = prepare_command(type(self).__name__, root)
        self.check_command = check_command(type(self).__name__, root)
        self.remedy = f"put it right with: {self.command}"

    def _datum(self, item):
        path = os.path.join(self.picture_dir, *item.path.split("/"))
        try:
            return Datum(impath=path, label=item.label, classname=item.classname)
        except (FileNotFoundError, AssertionError):  # minidassl's and Dassl's way to say that there is no such file
            raise InputError(f"{type(self).__name__}: the image {path} is missing; what else is missing is listed by: "
                             f"{self.check_command}") from None

    @classmethod
    def whole(cls, root: str, writes: bool = True) -> tuple[str, Splits]:
        """Return all that lies under ``root``: the folder that paths start from and the Splits, nothing sampled.

        ``writes`` says whether a split that had to be made is saved.
        """
        self, splits = cls._opened(root, writes=writes)
        return self.picture_dir, splits._replace(val=splits.test) if self.val_is_test else splits

    @classmethod
    def fingerprint_of(cls, root: str, split_seed: int = 1) -> str:
        """Return the ``fingerprint`` of what lies under ``root``, as DATASET.ROOT and SPLIT_SEED name it."""
        return cls._opened(os.path.abspath(os.path.expanduser(root)), split_seed, writes=False)[0].fingerprint

    @classmethod
    def _opened(cls, root, split_seed=1, writes=True):
        """Return (the dataset without images and few-shot set, its whole Splits); it need not be complete."""
        cls.check(root)
        self = cls.__new__(cls)
        self.split_seed, self.writes = split_seed, writes
        return self, self._open(root, None)

    @classmethod
    def check(cls, root: str) -> None:
        """Raise InputError where the dataset's folder, or something that it must hold, is not there; reads nothing."""
        remedy = f"get it with: {prepare_command(cls.__name__, root)}"
        missing = cls.missing(root)
        if not os.path.isdir(os.path.join(root, cls.folder)):
            raise InputError(f"{cls.__name__}: no folder {os.path.join(root, cls.folder)} (it should hold "
                             f"{', '.join(missing)}); {remedy}")
        if missing:
            raise InputError(f"{cls.__name__}: no {', '.join(missing)} in {os.path.join(root, cls.folder)}; {remedy}")

    @classmethod
    def missing(cls, root: str) -> list[str]:
        """Return the names of the files and folders that ``root``'s copy of the dataset lacks to be usable."""
        folder = os.path.join(root, cls.folder)
        names = list(cls.needs)
        split_there = cls.split_file and any(
            os.path.exists(os.path.join(folder, name)) for name in (cls.split_file, cls.own_split_file()))
        if not split_there:
            names += cls.annotations
        return [name for name in names if not os.path.exists(os.path.join(folder, name))]

    @classmethod
    def own_split_file(cls) -> str:
        """Return the name of the split file that is made here where the published one is not available."""
        return f"split_promptreg_{cls.__name__}.json"

    def load_splits(self) -> Splits:
        """Return the whole dataset as Splits, paths relative to the dataset's folder.

        The published split file wins; then the one made here before; then one is made by `read` and, for a
        dataset with a published file, saved under a name of its own.
        """
        if self.split_file is None:
            return under(self.images, self._read())
        published = os.path.join(self.dataset_dir, self.split_file)
        if os.path.exists(published):
            splits = read_split_file(published, self.remedy)
            self.check_complete(splits, f"delete {published} and fetch it again with: {self.command}")
            return under(self.images, splits)
        own = os.path.join(self.dataset_dir, self.own_split_file())
        splits = self._own_split(own)
        self.note(f"{published} is not there; with the split of {own}, made here, figures cannot be compared with "
                  "published ones")
        return under(self.images, splits)

    def _own_split(self, path):
        """Return the split kept at ``path``, made and kept there by the first call."""
        if not os.path.exists(path):
            splits = self._read(dealt=True)
            self._save_split(path, splits)
            return splits
        remedy = "delete it, and it is made anew"
        splits = read_split_file(path, remedy)
        self.check_complete(splits, f"complete the images, then delete {path}, and it is made anew", dealt=True)
        return splits

    def _read(self, dealt=False):
        """Return what `read` does, checked. Raises InputError."""
        splits = untrusted.read_untrusted(
            self, lambda self: self.read(), lambda reason:
            f"{self.dataset_dir}: of another form than the published one ({reason}); {self.remedy}")
        check_items(splits, self.dataset_dir, self.remedy, apart=not self.test_only)
        self.check_complete(splits, f"what is missing is listed by: {self.check_command}", dealt)
        return splits

    def check_complete(self, splits: Splits, remedy: str, dealt: bool = False) -> None:
        """Raise InputError where ``splits`` are not what was published, unless DATASET.ALLOW_INCOMPLETE is set."""
        if self.allow_incomplete is None:
            return
        serious, minor = shortfalls(splits, self.published, dealt)
        if serious and not self.allow_incomplete:
            raise InputError(f"{self.label} in {self.dataset_dir} {', '.join(serious)}: its figures would not be those "
                             f"of {self.label}; {remedy}; or set DATASET.ALLOW_INCOMPLETE True, which is noted in the "
                             "result")
        for sentence in serious + minor:
            self.note(f"{self.label} {sentence}")

    def read(self) -> Splits:
        """Return Splits from the dataset's own annotations, paths relative to ``images``."""
        raise NotImplementedError

    def path(self, *names: str) -> str:
        """Return the path of a file in the dataset's folder."""
        return os.path.join(self.dataset_dir, *names)


def check(cfg: CfgNode) -> None:
    """Raise InputError, one line, where ``cfg``'s dataset cannot be built; cheap, for use before anything is.

    Names that only the host repository knows are left to it.
    """
    name = cfg.DATASET.NAME
    sampling_options(cfg)
    known = name in DATASET_REGISTRY.registered_names()
    if known and DATASET_REGISTRY.get(name) in CLASSES.values():
        DATASET_REGISTRY.get(name).check(data_root(cfg))
    elif not known:
        raise InputError(f"DATASET.NAME '{name}' is not a known dataset{_suggest(name)}")


def _suggest(name):
    lower = {known.lower(): known for known in CLASSES}
    near = get_close_matches(name.lower(), lower, 1, 0.5)
    return f"; did you mean {lower[near[0]]}?" if near else f"; there are {', '.join(sorted(CLASSES))}"
