"""The validation images of a run: whether there are any where the config asks for them, and whether they are its own.

Dassl's ``test`` takes the test images where there are no validation images, without a word.
"""
from typing import Any

from ..errors import InputError

REMEDY = "evaluate on the test images with TEST.SPLIT test TEST.FINAL_MODEL last_step, or add validation images"


def check_split(trainer: Any, split: str | None = None) -> None:
    """Raise InputError where ``split`` (default: TEST.SPLIT) is val and there are no validation images."""
    if (split or trainer.cfg.TEST.SPLIT) == "val":
        _need(trainer, "TEST.SPLIT val")


def check_training(trainer: Any) -> None:
    """Raise InputError where training needs images that the dataset lacks: validation images, or some to train on."""
    if not getattr(trainer, "trainable", None):  # nothing is trained
        return
    if getattr(trainer.dm.dataset, "test_only", False):
        raise InputError(f"{trainer.cfg.DATASET.NAME} has test images only, training would be on these: train on "
                         "another dataset and evaluate here with --eval-only")
    if trainer.cfg.TEST.FINAL_MODEL == "best_val" and not trainer.cfg.TEST.NO_TEST:
        _need(trainer, "TEST.FINAL_MODEL best_val")


def _need(trainer: Any, what: str) -> None:
    dataset, name = trainer.dm.dataset, trainer.cfg.DATASET.NAME
    if trainer.val_loader is None:
        raise InputError(f"{what}: no validation images in {name}; {REMEDY}")
    for text in remarks(dataset, name, what):
        trainer.note(text)


def remarks(dataset: Any, name: str, what: str) -> list[str]:
    """Return what must be said of figures or a choice by the validation images of a Dassl dataset."""
    if not getattr(dataset, "val", None):
        return []
    val, test = ({item.impath for item in items} for items in (dataset.val, dataset.test))
    found = []
    if val & test:
        found.append(f"{what}: {len(val & test):,} of {name}'s {len(val):,} validation images are test images, so "
                     "what is chosen by them is chosen by the test")
    lacking = len({item.label for item in dataset.test} - {item.label for item in dataset.val})
    if lacking:
        found.append(f"{what}: {name} has no validation images of {lacking} of its {dataset.num_classes} classes")
    return found
