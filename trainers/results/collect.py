"""Finds the finished runs below any folders and says of each which cell of a table it fills."""
import json
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .record import FILE

# registered name: (config file, short name), in the order of the papers' tables
DATASETS = {
    "ImageNet": ("imagenet", "ImageNet"), "Caltech101": ("caltech101", "Caltech101"),
    "OxfordPets": ("oxford_pets", "Pets"), "StanfordCars": ("stanford_cars", "Cars"),
    "OxfordFlowers": ("oxford_flowers", "Flowers"), "Food101": ("food101", "Food101"),
    "FGVCAircraft": ("fgvc_aircraft", "Aircraft"), "SUN397": ("sun397", "SUN397"),
    "DescribableTextures": ("dtd", "DTD"), "EuroSAT": ("eurosat", "EuroSAT"), "UCF101": ("ucf101", "UCF101"),
    "ImageNetV2": ("imagenetv2", "ImageNetV2"), "ImageNetSketch": ("imagenet_sketch", "Sketch"),
    "ImageNetA": ("imagenet_a", "ImageNet-A"), "ImageNetR": ("imagenet_r", "ImageNet-R"),
    "Digits": ("digits", "Digits"),
}
KEYS = [key for key, _ in DATASETS.values()]
SHORT = dict(DATASETS.values())
VARIANTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
ZERO_SHOT = ("ZeroshotCLIP", "ZeroshotCLIP2")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        setting: "base2new", "xd" (trained on one dataset, evaluated on another) or "few_shot" (all classes).
        dataset: the config file's name of the dataset, "dtd" say.
        classes: "base", "new" or "all".
        shots: images a class; 0 for methods that learn nothing.
        variant: what else distinguishes the run ("nctx16_cscFalse_ctpend"), or "".
        accuracy: percent, unrounded.
        content: all of result.json.
        source: of "xd", the dataset that was trained on.
        parts: the folders of its path that may say what it is; those above what the user named may not.
    """

    folder: str
    setting: str
    method: str
    config: str
    dataset: str
    classes: str
    shots: int
    seed: int
    variant: str
    backbone: str
    accuracy: float
    content: dict = field(repr=False, compare=False)
    source: str = ""
    parts: tuple = ()


def collect(paths):
    """Return the finished runs below ``paths``, in the order of their folders.

    Raises:
        InputError: a path that is not there, or a result.json that is not whole.
    """
    found = {}
    for path in paths:
        if not os.path.isdir(path):
            raise InputError(f"there is no folder {path}: name the folder that holds the runs' outputs")
        for folder, below, files in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if FILE in files:
                found.setdefault(os.path.realpath(folder), (folder, path))
    return [run for folder, path in sorted(found.values()) if (run := read_run(folder, path))]


def read_run(folder, root=os.sep):
    """Return the ``Run`` of a folder with a result.json; None of a meta-training, which fills no cell of a table.

    What folders above ``root`` are called says nothing about the run.

    Raises:
        InputError: it is not whole.
    """
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text())
        results = content["results"]
        if set(results) == {"held_out"}:
            return None
        figures = results.get("test") or next(iter(results.values()))
        method, dataset = content["trainer"], content["dataset"]
        classes, accuracy = content["classes"], float(number(figures, "accuracy", 0, 100))
        shots = 0 if method in ZERO_SHOT and classes == "all" else number(content, "shots", -1, kinds=(int,))
        seed = number(content, "seed", kinds=(int,))
        for key in ("seconds", "peak_memory_mib"):
            if content.get(key) is not None:
                number(content, key, 0)
        for count in figures.get("per_class", {}).values():
            number(count, "correct", 0, number(count, "total", 0))
        if classes not in ("all", "base", "new"):
            raise ValueError(f"classes is {classes!r}")
        if not isinstance(content.get("versions", {}), dict):
            raise TypeError("versions must be an object")
        words = method, dataset, classes, *(content.get("command") or [])
        if not all(isinstance(word, str) and "\0" not in word for word in words):
            raise TypeError("trainer, dataset, classes and command must be words")
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not a whole result ({type(error).__name__}: {error}): delete it, and the run is "
                         "made again") from None
    command = list(content.get("command") or [])
    parts = telling_parts(folder, root, method, command)
    setting = "base2new" if classes in ("base", "new") else "xd" if "evaluation" in parts else "few_shot"
    source = trained_on(method, command) if setting == "xd" else ""
    if setting == "xd":  # of the training: what evaluates is not told
        shots = next((int(match[1]) for part in parts if (match := re.fullmatch(r".+_(\d+)shots", part))), shots)
    variant = next((part for part in parts if re.match(r"nctx\d+_", part)), "")
    weight = next((match[1] for part in parts if (match := re.fullmatch(r"shots_\d+_(.+)", part))), "")
    config, key = config_name(command, parts, folder), DATASETS.get(dataset, (dataset.lower(),))[0]
    method, config, key, variant, backbone = map(encodable, (method, config, key, variant or weight,
                                                             str(content.get("backbone", ""))))
    return Run(str(folder), setting, method, config, key, classes, shots, seed, variant, backbone, accuracy, content,
               source, parts)


def encodable(text):
    """Return a text with a question mark for what no file and no picture can hold: half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def number(content, key, least=-math.inf, most=math.inf, kinds=(int, float)):
    """Return the figure ``key``; raises ValueError unless it is a finite number (and no bool) within these bounds."""
    value = content[key]
    if type(value) not in kinds or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{key} is {value!r}")
    return value


def telling_parts(folder, root, method, command):
    """Return the parts of a run's path that may say what it is: those below ``root``.

    Where ``root`` lies inside of the method's own folder, from the folder above that on: the scripts' layout.
    """
    parts, first = Path(os.path.abspath(folder)).parts, len(Path(os.path.abspath(root)).parts)
    own = max((n for n, part in enumerate(parts) if part == method), default=first)
    if own > first or own == first and parts[own - 1:own] != ("evaluation",):
        return parts[first:]
    return parts[own - (parts[own - 1] != "evaluation" or "--eval-only" in command):]


def trained_on(method, command):
    """Return the dataset that an evaluation's prompts were trained on: by the folder they come from, else ImageNet."""
    parts = Path(following(command, "--model-dir")).parts
    return next((before for before, part in zip(parts, parts[1:], strict=False) if part == method and before in KEYS),
                "imagenet")


def following(command, flag):
    """Return the word behind a flag of a command line, or ""."""
    return command[command.index(flag) + 1] if flag in command[:-1] else ""


def config_name(command, parts, folder):
    """Return the name of the run's config file: from its command line, else from its folder."""
    if "--config-file" in command[:-1]:
        return Path(following(command, "--config-file")).stem
    named = [match[1] for part in parts if (match := re.fullmatch(r"(.+)_\d+shots", part))]
    return named[0] if named else Path(os.path.abspath(folder)).parent.name
