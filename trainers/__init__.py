"""Prompt learning for CLIP as Dassl trainers; importing this package registers all of them.

    import promptreg               # in a CoOp-style repository: the one line to add to its train.py
    promptreg.register(...)        # take names that the host holds, and add our datasets
    promptreg.fit("photos/")       # train a classifier on pictures of one's own
    promptreg.load("runs/photos")  # a trained classifier
    promptreg.results("output/")   # all finished runs as a DataFrame
    promptreg.PromptedCLIP         # trained prompts outside of Dassl, for features and logits
"""
import importlib
import sys
from pathlib import Path
from typing import Any

__version__ = "0.2.0"


def _command_starts() -> bool:
    """Whether this process runs one of our commands, which parses its arguments first (``utils.startup``)."""
    names = (name for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False) if flag == "-m")
    by_name = sys.argv[:1] == ["-m"] and next(names, "").partition(".")[0] == __name__
    return by_name or "_promptreg" in sys.modules


NO_METHODS = ("__init__", "__main__", "base", "prompts", "errors")  # all others are methods
METHODS = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_METHODS)
# compat.engine comes first: it settles which Dassl answers to the name, before anything asks.
PARTS = ("compat.engine", *METHODS, "meta.trainer")

importlib.import_module(".compat.old_names", __name__).install(__name__)
if __name__ != "trainers":  # in a host repository; ours has command lines that catch what they can
    importlib.import_module(".compat.excepthook", __name__).install()


def load_trainers(own: bool = False) -> None:
    """Import, and thereby register, all trainers; ``import promptreg`` has done so but in our own commands.

    Args:
        own: also import the files that PROMPTREG_METHODS names, as the commands do: methods outside of this package.
    """
    for part in PARTS:
        importlib.import_module(f".{part}", __name__)
    if own:
        importlib.import_module(".compat.own_methods", __name__).load()


if not _command_starts():
    load_trainers()


def register(override: bool = False, datasets: bool = True) -> None:
    """Register our trainers and datasets once more, after the host repository has registered its own.

    Args:
        override: take the names that the host holds as well; without it they stay the host's, and our classes of these
            names are to be had as ``PromptReg.NAME``.
        datasets: the datasets too; ``import promptreg`` alone brings none.
    """
    registries = [importlib.import_module(".compat.registry", __name__).TRAINERS]
    if datasets:
        registries.append(importlib.import_module(".compat.engine", __name__).sibling("datasets").DATASETS)
    for registry in registries:
        for name in registry.entries:
            registry.register(name, override)


# What is for users, and where it is; imported when it is asked for, as training needs none of it.
PUBLIC = {"PromptedCLIP": "inference.prompted_clip", "fit": "classifier.fit", "load": "classifier.model"}


def __dir__() -> list[str]:
    return sorted([*PUBLIC, "results", "register", "__version__"])


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        load_trainers()
        return getattr(importlib.import_module(f".{PUBLIC[name]}", __name__), name)
    if name == "results":  # a room that can be called
        return importlib.import_module(".results", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
