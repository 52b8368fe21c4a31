"""Finds the configs that words mean: ``oxford_pets``, ``OxfordPets`` or a path; ``PromptSRC/demo`` or a path."""
import difflib
import re
from pathlib import Path

from ..errors import InputError
from ..protocols.names import ALIASES
from ..utils.paths import packaged


def datasets() -> dict[str, str]:
    """Return {config's name: DATASET.NAME} of all dataset configs, as ``ls datasets`` prints them."""
    found = {}
    for path in sorted(Path(packaged("configs"), "datasets").glob("*.yaml")):
        name = re.search(r"^\s+NAME:\s*[\"']?(\w+)", path.read_text(encoding="utf-8"), re.M)
        found[path.stem] = name[1] if name else ""
    return found


def methods() -> dict[str, list[str]]:
    """Return {trainer: names of its configs} of all folders of configs, the package's and those below this folder."""
    found: dict[str, set[str]] = {}
    for path in (path for place in _folders() for path in place.glob("*/*.yaml")):
        found.setdefault(path.parent.name, set()).add(path.stem)
    return {name: sorted(found[name]) for name in sorted(found)}


def _folders() -> list[Path]:
    """Return where configs of methods lie: in the package, and of methods of one's own below this folder."""
    return [Path(packaged("configs"), "trainers"), Path("configs", "trainers")]


def dataset_config(word: str) -> str:
    """Return the path of the config that a dataset's name means, in any spelling; a file's path is itself.

    Raises:
        InputError: there is none; it names the nearest.
    """
    if Path(word).is_file():
        return word
    known = datasets()
    spellings = {_letters(name): stem for stem, registered in known.items() for name in (registered, stem)}
    stem = spellings.get(_letters(Path(word).name.removesuffix(".yaml")))
    if stem is None:
        near = difflib.get_close_matches(_letters(word), spellings, 1, 0.5)
        raise InputError(f"there is no dataset {word}: "
                         + (f"did you mean {spellings[near[0]]}?" if near else f"choose from {', '.join(known)}"))
    return str(Path(packaged("configs"), "datasets", f"{stem}.yaml"))


def method_config(word: str) -> tuple[str, str]:
    """Return (trainer, path of its config) of ``TRAINER/CONFIG``, or of ``TRAINER`` where it has one config alone.

    A composition that has no configs takes those of the one below its first wrapper: GRAM+DePT+CoOp DePT+CoOp's.

    Raises:
        InputError: there is none, or there are several.
    """
    path, known = Path(word), methods()
    if path.is_file():
        return path.absolute().parent.name, word
    trainer, _, config = word.removeprefix("configs/trainers/").removesuffix(".yaml").partition("/")
    names = {name.lower(): name for name in known}
    trainer = {name.lower(): own for name, own in ALIASES.items()}.get(trainer.lower(), trainer)
    if "+" in trainer and trainer.lower() not in names:
        inner = method_config(f"{trainer.partition('+')[2]}/{config}".rstrip("/"))
        return trainer, inner[1]
    if trainer.lower() not in names:
        near = difflib.get_close_matches(trainer.lower(), names, 1, 0.5)
        raise InputError(f"there is no config for a method {trainer}: "
                         + (f"did you mean {names[near[0]]}?" if near else f"choose from {', '.join(known)}")
                         + f" (a method of your own needs configs/trainers/{trainer}/NAME.yaml)")
    trainer = names[trainer.lower()]
    configs = known[trainer]
    if not config and len(configs) == 1:
        config = configs[0]
    if config not in configs:
        raise InputError((f"{trainer} has no config {config}: " if config else f"{trainer} has several configs: ")
                         + f"choose one of {', '.join(f'{trainer}/{name}' for name in configs)}")
    return trainer, next(str(path) for place in _folders() if (path := place / trainer / f"{config}.yaml").is_file())


def _letters(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())
