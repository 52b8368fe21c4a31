"""A new run: build the trainer, let it train or evaluate, with its log and its signals."""
import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

from yacs.config import CfgNode

from ..clip import weights
from ..compat import engine
from ..utils.console import Log, plain_record
from . import checkpoint, distributed, result, signals, validation
from .resume import refuse_other_content


def build_and_run(cfg: CfgNode, args: argparse.Namespace) -> Any:
    """Build the trainer and let it train or evaluate; returns it."""
    from dassl.engine import TRAINER_REGISTRY, build_trainer
    from dassl.utils import collect_env_info, set_random_seed

    if getattr(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "NEEDS_DATASET", True):
        engine.sibling("datasets").check(cfg)
    weights.locate(cfg.MODEL.BACKBONE.NAME)
    if cfg.SEED >= 0:
        print(f"Setting fixed seed: {cfg.SEED}")
        set_random_seed(cfg.SEED)
    print(f"Running on {engine.describe()}")
    print(f"** Config **\n{cfg}\n** System info **\n{collect_env_info()}\n")

    begin = time.time()
    trainer = build_trainer(cfg)
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
    elif not args.no_train:
        validation.check_training(trainer)
        check_resumption(trainer)
    if distributed.rank() == 0 and isinstance(sys.stdout, Log):
        sys.stdout.open(cfg.OUTPUT_DIR)  # not before all that was asked for has been found
    if args.eval_only:
        trainer.test()
    elif not args.no_train:
        trainer.train()
    if distributed.rank() == 0 and getattr(trainer, "results", None):
        result.write_result(trainer, time.time() - begin)
    return trainer


def check_resumption(trainer: Any) -> None:
    """Raise InputError where what the trainer would go on with was left by a run on other data or weights."""
    for folder in filter(None, (trainer.cfg.OUTPUT_DIR, trainer.cfg.RESUME)):
        found = checkpoint.latest_resumable(folder)
        if found and hasattr(trainer, "identity"):
            refuse_other_content(trainer, found[1], found[0])


@contextlib.contextmanager
def logged(console: Any) -> Iterator[None]:
    """While it lasts, what is printed goes to ``console`` and into the run's log.txt, and signals end the run.

    Args:
        console: a text stream, or what has its ``write``, ``flush`` and ``isatty``.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("promptreg").addFilter(plain_record)
    before = sys.stdout
    try:
        sys.stdout = Log(console)
        with signals.watched():
            if distributed.launched()[1] > 1:
                signals.end_with_parent()  # SIGUSR1 ends torchrun at once, and it tells nobody
            try:
                yield
            except RuntimeError:
                if signals.signal_pending():  # the signal has ended a loader's worker, too, or torchrun's first process
                    signals.raise_interrupted("what was saved before is kept")
                raise
    finally:
        with contextlib.suppress(OSError):  # the disk of the log is full: that has been said
            sys.stdout.flush()
        sys.stdout = before
