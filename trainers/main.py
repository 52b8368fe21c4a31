"""CoOp's command line, unchanged flags: train, or evaluate, one method on one dataset with one seed."""
import argparse
import errno
import logging
import os
import sys
import time
from pathlib import Path

import yaml

from . import engine, parallel, results
from .clip import weights
from .config import difference, setup_cfg
from .errors import EnvironmentFault, InputError, PromptRegError


def parser():
    """Return the parser of CoOp's flags and our few."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--root", default="", help="folder of the datasets")
    p.add_argument("--output-dir", default="", help="folder of this run's log, checkpoints and result")
    p.add_argument("--resume", default="", help="folder to resume from, if not the output folder")
    p.add_argument("--seed", type=int, default=None, help="non-negative to fix all random draws")
    p.add_argument("--source-domains", nargs="+", help="source domains, for domain adaptation")
    p.add_argument("--target-domains", nargs="+", help="target domains, for domain adaptation")
    p.add_argument("--transforms", nargs="+", help="training transforms")
    p.add_argument("--config-file", default="", help="the method's config")
    p.add_argument("--dataset-config-file", default="", help="the dataset's config")
    p.add_argument("--trainer", default="", help="name of the method's trainer")
    p.add_argument("--backbone", default="", help="name of CLIP's backbone")
    p.add_argument("--head", default="", help="name of the head (none of these methods has one)")
    p.add_argument("--eval-only", action="store_true", help="evaluate only")
    p.add_argument("--model-dir", default="", help="folder to load prompts from, for --eval-only")
    p.add_argument("--load-epoch", type=int, help="epoch of the prompts to load, for --eval-only")
    p.add_argument("--no-train", action="store_true", help="build everything, train nothing")
    p.add_argument("--no-cache", action="store_true", help="do not keep frozen text features on disk")
    p.add_argument("--print-cfg", action="store_true", help="show the merged config and where each value came from")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    p.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that win over the config files")
    return p


class Log:
    """Standard output that is also kept; from ``open`` on, in a file. Nothing is written before the run is sound."""

    def __init__(self, console):
        self.console, self.kept, self.file = console, [], None

    def write(self, text):
        self.console.write(text)
        if self.file:
            self.file.write(text)
        else:
            self.kept.append(text)
        return len(text)

    def flush(self):
        self.console.flush()
        if self.file:
            self.file.flush()

    def open(self, directory):
        """Begin, or in a resumed run continue, ``directory``/log.txt."""
        os.makedirs(directory, exist_ok=True)
        self.file = open(Path(directory) / "log.txt", "a", buffering=1, encoding="utf-8")
        self.file.writelines(self.kept)

    def __getattr__(self, name):
        return getattr(self.console, name)


def run(args):
    """Do what parsed flags say; returns the trainer, or None where there was nothing to do."""
    datasets = engine.sibling("datasets")
    from dassl.engine import TRAINER_REGISTRY, build_trainer
    from dassl.utils import collect_env_info, set_random_seed

    cfg, origin = setup_cfg(args)
    if args.print_cfg:
        for key, source in sorted(origin.items()):
            print(f"# {key}: from {source}")
        print(cfg.dump())
        return None
    done = results.read(cfg.OUTPUT_DIR)
    if done:
        differs = difference(cfg, yaml.safe_load(done["config"]))
        if differs:
            raise InputError(f"{cfg.OUTPUT_DIR} holds a finished run with another config ({'; '.join(differs[:3])}): "
                             "choose another --output-dir")
        print(f"Results are available in {cfg.OUTPUT_DIR}: not run again")
        return None
    if getattr(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "NEEDS_DATASET", True):
        datasets.check(cfg)
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
    if parallel.rank() == 0 and isinstance(sys.stdout, Log):
        sys.stdout.open(cfg.OUTPUT_DIR)  # not before all that was asked for has been found
    if args.eval_only:
        trainer.test()
    elif not args.no_train:
        trainer.train()
    if parallel.rank() == 0 and getattr(trainer, "results", None):
        results.write(trainer, time.time() - begin)
    return trainer


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for the user's input, 3 for the environment."""
    args = parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    console = sys.stdout
    sys.stdout = Log(console if int(os.environ.get("RANK", 0)) == 0 else open(os.devnull, "w"))
    try:
        run(args)
        return 0
    except Exception as error:
        code = exit_code(error)
        if args.debug or code is None:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return code
    finally:
        sys.stdout.flush()
        sys.stdout = console


def exit_code(error):
    """Return the exit code of an error that the user can mend, or None for a defect of ours, which keeps its traceback.

    minidassl stands alone and says what is wrong by Python's own exceptions; the system does so by OSError.
    """
    if isinstance(error, PromptRegError):
        return error.exit_code
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    said_by_dassl = frame.tb_frame.f_globals["__name__"].startswith(engine.dassl.__name__)
    if said_by_dassl and engine.is_mini and isinstance(error, (FileNotFoundError, ValueError)):
        return InputError.exit_code
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):  # the output folder is a file, say
        return InputError.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS,
                                                      errno.EDQUOT, errno.ENOMEM, errno.EMFILE):
        return EnvironmentFault.exit_code
    return None


def one_line(error):
    """Return an error's message; of one that crossed from a loader's worker process, the last line is the message."""
    return str(error).strip().splitlines()[-1].removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")


if __name__ == "__main__":
    sys.exit(main())
