"""Checks, before the first job, what the jobs need: the interpreter, the data, the weights and room on the disk."""
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..clip.weights import locate
from ..compat import engine
from ..config.flags import parser
from ..errors import InputError, SetupError
from .plan import Job, interpreter

PACKAGES = ("torch", "torchvision", "numpy", "yacs", "open_clip", "safetensors", "ftfy", "regex")
FREE_BYTES = 200 * 2**20  # a few runs' checkpoints and logs; prompts are small


@dataclass(frozen=True)
class Problem:
    """Something that jobs need and that is missing.

    Attributes:
        kind: the heading it is listed under.
        text: what is missing, and the command that fetches it.
        exit_code: 2 where the user's input or data lack, 3 where the machine does.
    """

    kind: str
    text: str
    exit_code: int = InputError.exit_code


def check_machine(output: str) -> list[Problem]:
    """Return what keeps every job from running: the interpreter's packages, the output folder, the disk."""
    found = []
    lacking = missing_packages(interpreter())
    if lacking:
        found.append(Problem("interpreter", f"{interpreter()} has no {', '.join(lacking)}: set PYTHON to one that has, "
                             "or install them there", SetupError.exit_code))
    folder = Path(output).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        found.append(Problem("output", f"{there} cannot be written to: choose another --output",
                             SetupError.exit_code))
    elif (free := shutil.disk_usage(there).free) < FREE_BYTES:
        found.append(Problem("disk", f"{free >> 20} MiB are free at {there}, {FREE_BYTES >> 20} are needed: free some",
                             SetupError.exit_code))
    return found


def missing_packages(python: str) -> list[str]:
    """Return which of PACKAGES an interpreter cannot find; they are looked for, not imported."""
    if shutil.which(python) == sys.executable:
        return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    program = f"import importlib.util as u; print(*[n for n in {PACKAGES} if u.find_spec(n) is None])"
    try:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ["usable start"]
    return done.stdout.split() if done.returncode == 0 else ["usable start"]


def check_jobs(jobs: list[Job]) -> dict[Problem, list[Job]]:
    """Return {problem: the unfinished jobs that it keeps from running}; each dataset and CLIP is looked for once."""
    data, weights, found = functools.cache(missing_data), functools.cache(missing_weights), defaultdict(list)
    for job in jobs:
        problems = {}
        for command in (command for step in job.steps if not step.finished for command in step.commands):
            root, dataset, backbone = needs(command)
            for problem in (data(dataset, root), weights(backbone)):
                if problem:
                    problems[problem] = None
        for problem in problems:
            found[problem].append(job)
    return dict(found)


def needs(command: list[str]) -> tuple[str, str, str]:
    """Return (folder of the datasets, DATASET.NAME, MODEL.BACKBONE.NAME) of a command of train.py; "" for unknown."""
    args = parser().parse_args(command[command.index("--root"):])
    given = dict(zip(args.opts[::2], args.opts[1::2], strict=False))
    files = [content(path) for path in (args.dataset_config_file, args.config_file) if path]

    def value(section: str, *keys: str) -> str:
        for file in files[::-1]:
            part = file.get(section)
            for key in keys:
                part = part.get(key) if isinstance(part, dict) else None
            if part:
                return str(part)
        return ""
    return (given.get("DATASET.ROOT", args.root), given.get("DATASET.NAME") or value("DATASET", "NAME"),
            given.get("MODEL.BACKBONE.NAME") or getattr(args, "backbone", "") or value("MODEL", "BACKBONE", "NAME"))


@functools.cache
def content(path: str) -> dict:
    """Return a YAML file's mapping; empty where there is none: the run itself says what is wrong with it."""
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def missing_data(dataset: str, root: str) -> Problem | None:
    """Return what is missing of a dataset below ``root``; names that only a host repository knows are left to it."""
    known = engine.sibling("datasets").base.CLASSES
    try:
        if dataset in known:
            known[dataset].check(root)
    except InputError as error:
        return Problem("data", str(error))
    return None


def missing_weights(backbone: str) -> Problem | None:
    """Return what is missing of a CLIP's weights."""
    try:
        if backbone:
            locate(backbone)
    except InputError as error:
        return Problem("weights", str(error))
    return None


def screen(problems: dict[Problem, list[Job]]) -> str:
    """Return the text of all problems, grouped by kind."""
    lines = []
    for kind in dict.fromkeys(problem.kind for problem in problems):
        lines.append(f"{kind}:")
        lines += [f"  {problem.text}" for problem in problems if problem.kind == kind]
    return "\n".join(lines)
