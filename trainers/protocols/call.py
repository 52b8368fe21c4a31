"""One call of a script: its arguments, the environment's settings, and the train.py commands that these make."""
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError

SEEDS = re.compile(r"\s*-?[0-9]+(\s+-?[0-9]+)*\s*")


class Call:
    """What a script is called with.

    Attributes:
        words: the arguments, without ``--print-cfg`` and what follows ``--``.
        seeds: of SEEDS, for scripts that loop over them.
        commands: train.py's command lines so far, each a list of words.
        environment: what the commands are given besides the caller's environment.

    Args:
        root: the folder of configs/ and, in a checkout, of train.py.
        arguments: as typed behind the script's name.
        env: DATA, OUTPUT, CFG, SHOTS, LOADEP, SEEDS, OPTS, PYTHON and what single methods read; an empty value counts
            as none.

    Raises:
        InputError: SEEDS are no whole numbers.
    """

    def __init__(self, root: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.root, self.env = root, env
        words = list(arguments)
        more = words[words.index("--") + 1:] if "--" in words else []
        words = words[:words.index("--")] if "--" in words else words
        self.flags = ["--print-cfg"] if "--print-cfg" in words else []
        self.words = [word for word in words if word != "--print-cfg"]
        self.options = [*self.get("OPTS", "").split(), *more]
        seeds = self.get("SEEDS", "1 2 3")
        if not SEEDS.fullmatch(seeds):
            raise InputError(f"SEEDS='{seeds}': give whole numbers, SEEDS='1 2 3' say")
        self.seeds = seeds.split()
        self.commands: list[list[str]] = []
        self.environment: dict[str, str] = {}

    def get(self, name: str, default: str) -> str:
        """Return a setting from the environment, or its default."""
        return self.env.get(name) or default

    @property
    def shots(self) -> str:
        return self.get("SHOTS", "16")

    @property
    def output(self) -> str:
        return self.get("OUTPUT", "output")

    @property
    def python(self) -> str:
        return self.get("PYTHON", "python")

    @property
    def train(self) -> list[str]:
        """The words that start train.py: the checkout's or the host's file, else the installed module."""
        file = self.root / "train.py"
        return [str(file)] if file.is_file() else ["-m", "promptreg.cli.train"]

    def find_config(self, below: str) -> str:
        """Return the path of a file or folder of configs/: in the root, or else below this folder.

        A composition, GRAM+DePT+CoOp, takes what it has not from the one below its first wrapper.
        """
        theirs = Path(os.getcwd(), "configs", below)
        ours = self.root / "configs" / below
        inner = re.sub(r"^trainers/[^/+]+\+", "trainers/", below)
        if inner != below and not ours.exists() and not theirs.exists():
            return self.find_config(inner)
        return str(theirs if not ours.exists() and theirs.exists() else ours)

    def last_epoch(self, trainer: str, cfg: str) -> str:
        """Return the epoch whose prompts are tested: LOADEP, else by OPTIM.MAX_EPOCH behind --, else the config's."""
        given = dict(zip(self.options[::2], self.options[1::2], strict=False)).get("OPTIM.MAX_EPOCH", "")
        found = self.get("LOADEP", given)
        file = Path(self.find_config(f"trainers/{trainer}/{cfg}.yaml"))
        if not found and file.is_file():
            found = "".join(re.findall(r"^ *MAX_EPOCH: *(.*)$", file.read_text(encoding="utf-8"), re.M)[:1])
        return found or "1"  # train.py will name the file that is missing

    def run(self, trainer: str, cfg: str, dataset: str, seed: str, folder: str, *more: str,
            configs: str | None = None) -> None:
        """Add one run of train.py; `configs` is the folder of the config where it is not the trainer's own."""
        self.commands.append([
            self.python, *self.train, *self.flags, "--root", self.get("DATA", "data"), "--seed", seed,
            "--trainer", trainer, "--dataset-config-file", str(self.root / "configs" / "datasets" / f"{dataset}.yaml"),
            "--config-file", self.find_config(f"trainers/{configs or trainer}/{cfg}.yaml"),
            "--output-dir", folder, *more, *self.options])

    # ---- the published folders

    def base2new_folder(self, part: str, trainer: str, cfg: str, shots: str, dataset: str, seed: str) -> str:
        return f"{self.output}/base2new/{part}/{dataset}/shots_{shots}/{trainer}/{cfg}/seed{seed}"

    def base2new_train(self, trainer: str, cfg: str, shots: str, dataset: str, seed: str, *keys: str) -> None:
        """Train on the base classes. Shots may carry a word that the folder bears as well (KgCoOp's 16_8.0)."""
        folder = self.base2new_folder("train_base", trainer, cfg, shots, dataset, seed)
        self.run(trainer, cfg, dataset, seed, folder, "DATASET.NUM_SHOTS", shots.partition("_")[0],
                 "DATASET.SUBSAMPLE_CLASSES", "base", *keys)

    def base2new_test(self, trainer: str, cfg: str, shots: str, dataset: str, seed: str, *keys: str) -> None:
        """Evaluate on the new classes what ``base2new_train`` has trained."""
        model = self.base2new_folder("train_base", trainer, cfg, shots, dataset, seed)
        self.evaluate_classes("new", model, trainer, cfg, shots, dataset, seed, *keys)

    def evaluate_classes(self, classes: str, model: str, trainer: str, cfg: str, shots: str, dataset: str, seed: str,
                         *keys: str) -> None:
        """Evaluate prompts on the base or the new classes."""
        folder = self.base2new_folder(f"test_{classes}", trainer, cfg, shots, dataset, seed)
        self.run(trainer, cfg, dataset, seed, folder, "--model-dir", model, "--load-epoch",
                 self.last_epoch(trainer, cfg), "--eval-only", "DATASET.NUM_SHOTS", shots.partition("_")[0],
                 "DATASET.SUBSAMPLE_CLASSES", classes, *keys)

    def all_classes(self, trainer: str, cfg: str, shots: str, dataset: str, seed: str, *keys: str,
                    below: str = "") -> None:
        """Train on all classes; `below` is empty or "/FOLDER"."""
        folder = f"{self.output}/{dataset}/{trainer}/{cfg}_{shots}shots{below}/seed{seed}"
        self.run(trainer, cfg, dataset, seed, folder, *keys, "DATASET.NUM_SHOTS", shots)

    def transfer(self, trainer: str, cfg: str, shots: str, dataset: str, seed: str, *keys: str,
                 below: str = "") -> None:
        """Evaluate what was trained on ImageNet (SOURCE) on another dataset, or on a variant of ImageNet."""
        name = f"{trainer}/{cfg}_{shots}shots{below}"
        self.run(trainer, cfg, dataset, seed, f"{self.output}/evaluation/{name}/{dataset}/seed{seed}",
                 "--model-dir", f"{self.output}/{self.get('SOURCE', 'imagenet')}/{name}/seed{seed}",
                 "--load-epoch", self.last_epoch(trainer, cfg), "--eval-only", *keys)
