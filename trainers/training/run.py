"""One run: one method on one dataset with one seed, trained or evaluated, as CoOp's flags ask."""
import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from ..clip import weights
from ..compat import engine
from ..compat.registry import TRAINERS
from ..config.build import setup_cfg
from ..config.defaults import every_default
from ..config.flags import parser
from ..config.show import with_origins
from ..config.yaml_text import difference, flatten, parsed
from ..errors import InputError, Interrupted
from ..utils import lock
from ..utils.console import exit_code, one_line, print_stderr, setup_streams
from ..utils.startup import load_package
from . import checkpoint, distributed, finished_calls, identity, result, srun
from .execution import build_and_run, logged

BATCH_SIZE = "DATALOADER.TRAIN_X.BATCH_SIZE"


def run(args: argparse.Namespace) -> Any:
    """Do what parsed flags say; returns the trainer, or None where there was nothing to do."""
    engine.sibling("datasets")
    cfg, origin = setup_cfg(args)
    if args.print_cfg:
        print(with_origins(cfg, origin, args))
        return None
    if not args.eval_only and (args.model_dir or args.load_epoch is not None):
        raise InputError("--model-dir and --load-epoch have an effect with --eval-only alone: add it; to start a "
                         "training from prompts give MODEL.INIT_WEIGHTS FILE")
    if finished(cfg, args):
        lock.release_dead(cfg.OUTPUT_DIR)  # it may have been killed when all was done
        return None
    first = distributed.launched()[0] == 0
    with lock.held(cfg.OUTPUT_DIR) if first else contextlib.nullcontext():
        if finished(cfg, args):  # meanwhile
            return None
        check_unfinished(cfg, args.eval_only)
        if first:
            checkpoint.remove_partial_files(cfg.OUTPUT_DIR)
        return build_and_run(cfg, args)


def finished(cfg: CfgNode, args: argparse.Namespace) -> bool:
    """Return whether the output folder holds this very run's result.

    Raises:
        InputError: it holds that of a run with another config, on other data or weights, or of other prompts.
    """
    done = result.read_result(cfg.OUTPUT_DIR)
    if done:
        check_finished(cfg, args, done)
        print(f"Results are available in {cfg.OUTPUT_DIR}: not run again")
        for text in notes_of(done):
            print(f"note: {text}")
        with contextlib.suppress(InputError):  # data or weights are gone since: the next call looks again
            remember(cfg, args, done)
    return bool(done)


def remember(cfg: CfgNode, args: argparse.Namespace, done: dict[str, Any]) -> None:
    """Let the next call of these flags be answered without torch while nothing that the result is made of changes."""
    kind = engine.sibling("datasets").CLASSES.get(cfg.DATASET.NAME)
    trainer = TRAINERS.entries.get(cfg.TRAINER.NAME)
    if kind is None or trainer is None or hasattr(trainer, "data_identity") or not done.get("identity"):
        return  # what a host's own, or a meta-training, is made of is not known here
    files = [weights.locate(cfg.MODEL.BACKBONE.NAME)]
    if "start" in done["identity"]:
        files.append(trainer.METHOD.meta_path(cfg))
    if args.eval_only and args.model_dir:
        path = checkpoint.find_checkpoint(args.model_dir, trainer.METHOD.FOLDER, args.load_epoch)
        files += [path, path.parent]
    root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
    finished_calls.remember(args, notes_of(done), files, [os.path.join(root, kind.folder)] if kind.folder else [root])


def notes_of(done: dict[str, Any]) -> list[str]:
    """Return the notes of a result.json's content, and one where it is of an older version."""
    return [*done.get("notes", ()), *([] if done.get("identity") else [identity.NOT_RECORDED])]


def check_finished(cfg: CfgNode, args: argparse.Namespace, done: dict[str, Any]) -> None:
    """Raise InputError where ``done``, the content of a result.json, is not what the flags ask for."""
    joint = None
    if not args.eval_only:
        batch = flatten(parsed(done["config"]) or {}).get(BATCH_SIZE)
        joint = done.get("processes", 1) * batch if isinstance(batch, int) else None
    refuse_difference(cfg, done["config"], "a finished run", "choose another --output-dir", joint=joint)
    if done.get("identity"):
        check_content(identity.of_config(cfg), done, cfg.OUTPUT_DIR)
    check_prompts(args, done)


def check_content(here: dict[str, Any], done: dict[str, Any], folder: str | Path) -> None:
    """Raise InputError where the result ``done`` in a folder was made of other data or weights than are ``here``."""
    differs = identity.differences(here, done.get("identity"))
    if differs:
        raise InputError(f"{folder} holds the result of a run on {'; '.join(differs)}: choose another --output-dir, or "
                         "delete it to run on what is there today")


def check_prompts(args: argparse.Namespace, done: dict[str, Any]) -> None:
    """Raise InputError where the result ``done`` is of other prompts than --model-dir holds today."""
    if not (args.eval_only and args.model_dir and done.get("prompts")):
        return
    folder = getattr(getattr(TRAINERS.entries.get(done.get("trainer")), "METHOD", None), "FOLDER", "")
    with contextlib.suppress(checkpoint.Missing):  # they may have been deleted since
        path = checkpoint.find_checkpoint(args.model_dir, folder, args.load_epoch)
        if checkpoint.digest(checkpoint.read_prompts(path)[0]) != done["prompts"]:
            raise InputError(f"{args.output_dir} holds the result of other prompts than {path}: choose another "
                             "--output-dir, or delete it to evaluate these")


def check_unfinished(cfg: CfgNode, eval_only: bool) -> None:
    """Raise InputError where the output folder holds a run that this one would spoil, or --resume is of no use."""
    found = checkpoint.latest_resumable(cfg.OUTPUT_DIR)
    if not found:
        if cfg.RESUME and not eval_only:
            check_resume(cfg)
        return
    path, content = found
    if eval_only:
        last = flatten(parsed(content["config"]) or {}).get("OPTIM.MAX_EPOCH")
        if isinstance(last, int) and content["epoch"] < last:
            raise InputError(f"{path} is of a training that has done {content['epoch']} of {last} epochs: finish it, "
                             "or evaluate into another --output-dir")
        return
    refuse_difference(cfg, content["config"], "an unfinished run",
                      "choose another --output-dir, or delete it to begin anew", joint=content.get("joint_batch"))


def check_resume(cfg: CfgNode) -> None:
    """Raise InputError unless the folder of --resume holds a state of this very run, started elsewhere."""
    found = checkpoint.latest_resumable(cfg.RESUME)
    if not found:
        raise InputError(f"--resume {cfg.RESUME}: there is no run in this folder that could go on; correct it, or "
                         "leave it out to begin anew")
    refuse_difference(cfg, found[1]["config"], "a run", "resume with the config it was started with", cfg.RESUME,
                      joint=found[1].get("joint_batch"))


def refuse_difference(cfg: CfgNode, there: Any, what: str, remedy: str, folder: str | Path | None = None,
                      most: int = 5, joint: int | None = None) -> None:
    """Raise InputError, naming up to ``most`` keys, unless the config ``there`` (as YAML) is that of the same run.

    A key that was declared since, by a method that was added, say, had its default there: what was done before it.
    Where the run's images a step, ``joint``, are known, it is these that count: its processes may have been others.
    """
    folder, other = folder or cfg.OUTPUT_DIR, {**every_default(), **flatten(parsed(there) or {})}
    here, processes = cfg.DATALOADER.TRAIN_X.BATCH_SIZE, distributed.launched()[1]
    if joint == here * processes:
        other[BATCH_SIZE] = here
    elif joint and (processes > 1 or joint != other.get(BATCH_SIZE)):
        distributed.compare_joint_batch(cfg, joint, folder)
    differs = difference(cfg, other)
    if differs:
        more = f"; and {len(differs) - most} more" if len(differs) > most else ""
        raise InputError(f"{folder} holds {what} with another config ({'; '.join(differs[:most])}{more}): {remedy}")


def main(argv: list[str] | None = None) -> int:
    """Parse CoOp's flags and do the run; returns the exit code of ``execute``."""
    setup_streams()
    args = parser().parse_args(argv)
    load_package()
    return execute(args)


def execute(args: argparse.Namespace) -> int:
    """Do the run of parsed flags: log, signals, exit codes.

    Returns:
        The exit code: 0; 2 for the user's input; 3 for the environment, and where another run holds the output folder;
        75 where SIGTERM, SIGUSR1 or SIGUSR2 has interrupted a run that the same command goes on with; 130 after Ctrl-C.
    """
    console = sys.stdout
    try:
        srun.set_variables()
        with logged(console if distributed.launched()[0] == 0 else open(os.devnull, "w")):
            run(args)
        return 0
    except (Interrupted, KeyboardInterrupt) as stop:
        print_stderr(f"{str(stop) or 'interrupted'}; the same command goes on from there")
        return getattr(stop, "exit_code", 130)
    except Exception as error:
        code = exit_code(error)
        if args.debug or code is None:
            raise
        print_stderr(f"error: {one_line(error)}")
        return code


if __name__ == "__main__":
    sys.exit(main())
