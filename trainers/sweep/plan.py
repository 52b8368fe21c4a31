"""Which scripts make up a sweep, and which runs and folders those make."""
import functools
import hashlib
import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..config.build import setup_cfg
from ..config.flags import parser
from ..errors import InputError, SetupError
from ..protocols.names import ALIASES
from ..protocols.scripts import call as call_script
from ..training import identity, run
from ..training.result import FILE, load_result
from ..utils.paths import SCRIPTS
from .methods import METHODS, SHOTS, TARGETS, XD_SHOTS, Method, check_names, scripts_of


@dataclass(frozen=True)
class Step:
    """One call of a script.

    Attributes:
        words: its path below scripts/ and its arguments.
        environment: what it is given besides the caller's environment.
        commands: the command lines of train.py that it runs, each a list of words.
    """

    words: tuple
    environment: dict = field(hash=False)
    commands: list = field(default_factory=list, compare=False, hash=False)

    @property
    def folders(self) -> list[str]:
        return [command[command.index("--output-dir") + 1] for command in self.commands]

    @property
    def finished(self) -> bool:
        return all(os.path.isfile(os.path.join(folder, FILE)) for folder in self.folders)

    @property
    def argv(self) -> list[str]:
        return ["bash", str(SCRIPTS / self.words[0]), *self.words[1:]]

    def __str__(self) -> str:
        given = "".join(f"{key}={shlex.quote(value)} " for key, value in sorted(self.environment.items()))
        return f"{given}bash scripts/{shlex.join(self.words)}"


@dataclass
class Job:
    """Steps that must run one after the other: a training and what evaluates it."""

    name: str
    method: str
    steps: list

    @property
    def finished(self) -> bool:
        return all(step.finished for step in self.steps)

    @property
    def slug(self) -> str:
        """A file's name for it, which no job with other folders has."""
        folders = "\0".join(os.path.abspath(folder) for step in self.steps for folder in step.folders)
        return (f"{self.name.replace(' ', '_').replace('/', '-')}-"
                f"{hashlib.blake2b(folders.encode(errors='surrogateescape'), digest_size=3).hexdigest()}")


def plan(methods: Sequence[str], setting: str, datasets: Sequence[str] = ("all",), seeds: Sequence[int] = (1, 2, 3),
         shots: Sequence[int] = (), environment: Mapping[str, str] | None = None, source: str = "imagenet",
         opts: Sequence[str] = ()) -> list[Job]:
    """Return the jobs of a sweep.

    Args:
        environment: {name: value} for all scripts (CFG, DATA, OUTPUT, OPTS, …).
        source: what cross-dataset and domain generalization train on.
        opts: further config keys and values, in turn, for all runs.

    Raises:
        InputError: an unknown method, setting, dataset or source (names the nearest), or a script that refuses.
        SetupError: there is no bash.
    """
    if list(methods) == ["all"]:  # but for those that need a meta-trained file first
        methods = [method for method in METHODS if METHODS[method].folder != "gram"]
    methods = [ALIASES.get(method, method) for method in methods]
    datasets = TARGETS[setting] if list(datasets) == ["all"] else datasets
    check_names(methods, datasets, source)
    jobs = []
    for method in methods:
        make = {"base2new": base2new, "few_shot": few_shot}.get(setting, transfer)
        jobs += make(method, datasets, seeds, shots, {**(environment or {}), **scripts(method).environment}, source)
    unique = {tuple(step.words + tuple(sorted(step.environment.items())) for step in job.steps): job for job in jobs}
    jobs = list(unique.values())
    for job in jobs if opts else ():
        job.steps = [replace(step, words=(*step.words, "--", *opts), commands=[]) for step in job.steps]
    expand([step for job in jobs for step in job.steps])
    return jobs


def scripts(method: str) -> Method:
    """Return the scripts of a method that ``plan`` has checked."""
    found = scripts_of(method)
    assert found
    return found


def call(method: str, part: str, arguments: Sequence[object], seed: object, environment: dict[str, str]) -> Step:
    """Return the step of one of a method's scripts, the seed where the script expects it."""
    found = scripts(method)
    words = [f"{found.folder}/{getattr(found, part)}.sh", *found.first, *map(str, arguments)]
    if part in found.seed_argument:
        return Step((*words, str(seed)), environment)
    if method in ("ZeroshotCLIP", "ZeroshotCLIP2"):
        return Step(tuple(words), environment)
    return Step(tuple(words), {**environment, "SEEDS": str(seed)})


def base2new(method: str, datasets: Sequence[str], seeds: Sequence[int], shots: Sequence[int],
             environment: dict[str, str], _: str) -> list[Job]:
    jobs = []
    for dataset in datasets:
        for k in shots or (None,):
            given = environment if k is None else {**environment, "SHOTS": str(k)}
            for seed in seeds:
                steps = [call(method, part, [dataset], seed, given) for part in ("train", "test")
                         if getattr(scripts(method), part)]
                jobs.append(Job(name(method, dataset, k, seed), method, steps))
    return jobs


def few_shot(method: str, datasets: Sequence[str], seeds: Sequence[int], shots: Sequence[int],
             environment: dict[str, str], _: str) -> list[Job]:
    if not scripts(method).train:  # zero-shot
        return [Job(f"{method} {dataset}", method, [call(method, "few_shot", [dataset], None, environment)])
                for dataset in datasets]
    return [Job(name(method, dataset, k, seed), method, [call(method, "few_shot", [dataset, k], seed, environment)])
            for dataset in datasets for k in shots or SHOTS for seed in seeds]


def transfer(method: str, datasets: Sequence[str], seeds: Sequence[int], shots: Sequence[int],
             environment: dict[str, str], source: str) -> list[Job]:
    if not scripts(method).train:
        return few_shot(method, datasets, seeds, shots, environment, source)
    jobs = []
    for k in shots or [XD_SHOTS.get(method, 16)]:
        given = {**environment, "SHOTS": str(k)} if shots else environment
        given = {**given, "SOURCE": source} if source != "imagenet" else given
        first = [source] if "xd_train" in scripts(method).seed_argument else [source, k]
        for seed in seeds:
            steps = [call(method, "xd_train", first, seed, given)]
            steps += [call(method, "xd_test", [dataset], seed, given) for dataset in datasets]
            jobs.append(Job(name(method, f"{source} to {len(datasets)} datasets", shots and k, seed), method, steps))
    return jobs


def name(method: str, dataset: str, shots: object, seed: object) -> str:
    return f"{method} {dataset}" + (f" {shots} shots" if shots else "") + f" seed {seed}"


def interpreter() -> str:
    """Return the Python that scripts are to use: PYTHON, else this one."""
    return os.environ.get("PYTHON") or sys.executable


def expand(steps: list[Step]) -> None:
    """Fill in the steps' commands."""
    if not shutil.which("bash"):
        raise SetupError("there is no bash in PATH, and the scripts need it: install it, or mend PATH")
    caller = {**os.environ, "PYTHON": interpreter()}
    for step in steps:
        script, *arguments = step.words
        try:
            made = call_script(script.removesuffix(".sh"), SCRIPTS.parent, arguments, {**caller, **step.environment})
        except InputError as error:
            raise InputError(f"{step}: {error}") from None
        step.commands[:] = made.commands


def check_configs(jobs: list[Job]) -> None:
    """Raise InputError unless the config files of all jobs are there."""
    for job in jobs:
        for command in itertools.chain(*(step.commands for step in job.steps)):
            path = command[command.index("--config-file") + 1]
            if not os.path.isfile(path):
                raise InputError(f"{job.method}: there is no config file {path}: choose another of that "
                                 "folder by --cfg, or make it, a copy of that of a method like it")


def check_finished(jobs: list[Job]) -> None:
    """Raise InputError where a folder that counts as finished holds a run with another config, or of other prompts."""
    collection = functools.cache(identity.of_collection)  # each dataset is read once
    for job in jobs:
        for step in job.steps:
            for command, folder in zip(step.commands, step.folders, strict=True):
                if os.path.isfile(os.path.join(folder, FILE)):
                    check_result(command[command.index("--root"):], load_result(folder) or {}, collection)


def check_result(words: list[str], done: dict[str, Any],
                 collection: Callable[[str, str, int], dict[str, Any]] = identity.of_collection) -> None:
    """Raise InputError where ``done``, the content of a result.json, is not of train.py's flags ``words``.

    Where the words are those of its own command, its config needs no second look, which takes time; the dataset and the
    weights do, and ``collection`` tells the dataset's identity.
    """
    args = parser().parse_args(words)
    recorded = done.get("command") or []
    if words != recorded[-len(words):] and done.get("config"):
        run.check_finished(setup_cfg(args)[0], args, done)
        return
    run.check_prompts(args, done)
    options = dict(zip(args.opts[::2], args.opts[1::2], strict=False))
    root, seed = options.get("DATASET.ROOT", args.root), int(options.get("DATASET.SPLIT_SEED", 1))
    run.check_content(identity.of_weights(str(done.get("backbone", "")))
                      | collection(str(done.get("dataset", "")), root, seed), done, args.output_dir)
