"""The base of every dataset here: a subclass says where things are and how names are read, the rest stands once."""
import logging
import os
from difflib import get_close_matches

from .fewshot import choose_classes, few_shot
from .home import InputError
from .splits import check_items, read_split_file, under, write_split_file

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum  # noqa: E402  after home, which finds Dassl

log = logging.getLogger("promptreg")
CLASSES = {}  # registered name -> class, of this house only


def register(cls):
    """Register a dataset under its class's name, unless the host repository has its own of that name."""
    CLASSES[cls.__name__] = cls
    if cls.__name__ not in DATASET_REGISTRY.registered_names():
        DATASET_REGISTRY.register()(cls)
    return cls


def data_root(cfg):
    """Return the absolute path of DATASET.ROOT. Raises InputError where it is empty."""
    if not cfg.DATASET.ROOT:
        raise InputError("DATASET.ROOT is empty: say where the data lie, with --root DATA")
    return os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))


def sampling_options(cfg):
    """Return (shots, seed, which classes) of a config, checked. Raises InputError.

    Shots are 0 for the whole training split (Dassl's default, -1, means the same).
    """
    shots, which = cfg.DATASET.NUM_SHOTS, getattr(cfg.DATASET, "SUBSAMPLE_CLASSES", "all")
    if shots < -1:
        raise InputError(f"DATASET.NUM_SHOTS {shots}: give a number of images a class, or -1 for all")
    if which not in ("all", "base", "new"):
        raise InputError(f"DATASET.SUBSAMPLE_CLASSES {which}: choose all, base or new")
    return max(shots, 0), cfg.SEED, which


class FewShotDataset(DatasetBase):
    """A dataset with fixed splits, few-shot training sets, and base and new classes.

    Args:
        cfg: a Dassl config; read are DATASET.ROOT, DATASET.NUM_SHOTS (images a class, -1 for all),
            DATASET.SUBSAMPLE_CLASSES ("all", "base", "new") and SEED (names the cached few-shot set; the draw
            itself uses Python's global random state, which Dassl's ``set_random_seed`` has set).

    A subclass gives the class attributes below and, where the dataset does not come with a split file alone,
    `read`. Raises InputError wherever a file is missing, damaged or at odds with another.
    """

    folder = ""        # of the dataset, under DATASET.ROOT
    images = ""        # folder of the images in it, which the paths in split files start from
    split_file = None  # the published split's file
    needs = ()         # files and folders that must be in the dataset's folder (any of several: a tuple)
    test_only = False  # no training split: the test images are listed as training images too, and never sampled

    def __init__(self, cfg):
        shots, seed, which = sampling_options(cfg)
        self.check(cfg)
        self.dataset_dir = os.path.join(data_root(cfg), self.folder)
        self.image_dir = os.path.join(self.dataset_dir, self.images)
        self.remedy = f"put it right with: {prepare_command(type(self).__name__, data_root(cfg))}"
        splits = self.load_splits()
        if shots and not self.test_only:
            splits = few_shot(splits, shots, seed, os.path.join(self.dataset_dir, "split_fewshot"))
        splits = choose_classes(splits, which)
        train, val, test = ([self._datum(item) for item in items] for items in splits)
        super().__init__(train_x=train, val=val or test, test=test)

    def _datum(self, item):
        return Datum(impath=os.path.join(self.dataset_dir, *item.path.split("/")), label=item.label,
                     classname=item.classname)

    @classmethod
    def check(cls, cfg):
        """Raise InputError where the dataset's folder, or something that it must hold, is not there; reads nothing."""
        root = data_root(cfg)
        folder = os.path.join(root, cls.folder)
        remedy = f"get it with: {prepare_command(cls.__name__, root)}"
        if not os.path.isdir(folder):
            wanted = ", ".join(_either(need) for need in (*cls.needs, *filter(None, [cls.split_file])))
            raise InputError(f"{cls.__name__}: no folder {folder} (it should hold {wanted}); {remedy}")
        for need in cls.needs:
            if not any(os.path.exists(os.path.join(folder, name)) for name in _options(need)):
                raise InputError(f"{cls.__name__}: no {_either(need)} in {folder}; {remedy}")

    def load_splits(self):
        """Return the whole dataset as Splits, paths relative to the dataset's folder.

        The published split file wins; then the one made here before; then one is made by `read` and, for a
        dataset with a published file, saved under a name of its own.
        """
        own = os.path.join(self.dataset_dir, f"split_promptreg_{type(self).__name__}.json")
        published = self.split_file and os.path.join(self.dataset_dir, self.split_file)
        if published and os.path.exists(published):
            splits = read_split_file(published, self.remedy)
        elif published and os.path.exists(own):
            splits = read_split_file(own, "delete it, and it is made anew")
        else:
            splits = self.read()
            check_items(splits, self.dataset_dir, self.remedy)
            if published:
                log.warning("%s: %s is not there; splitting the images anew into %s, so figures are not comparable "
                            "with published ones", type(self).__name__, published, own)
                self._save(own, splits)
        return type(splits)(*(under(self.images, items) for items in splits))

    def _save(self, path, splits):
        try:
            write_split_file(path, splits)
        except OSError as error:
            log.warning("%s: cannot be saved (%s)", path, error.strerror)

    def read(self):
        """Return Splits from the dataset's own annotations, paths relative to the folder of images."""
        raise NotImplementedError


def _options(need):
    return need if isinstance(need, tuple) else (need,)


def _either(need):
    return " or ".join(_options(need))


def prepare_command(name, root):
    """Return the command line that fetches and arranges a dataset."""
    return f"python -m {__package__}.prepare {name} --root {root}"


def check(cfg):
    """Raise InputError, one line, where ``cfg``'s dataset cannot be built; cheap, for use before anything is.

    Names that only the host repository knows are left to it.
    """
    name = cfg.DATASET.NAME
    sampling_options(cfg)
    if name in CLASSES:
        return CLASSES[name].check(cfg)
    known = DATASET_REGISTRY.registered_names()
    if name not in known:
        near = get_close_matches(name, CLASSES, 1, 0.5) or get_close_matches(name.lower(), map(str.lower, CLASSES), 1, .5)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(CLASSES)}"
        raise InputError(f"DATASET.NAME '{name}' is not a known dataset{hint}")
