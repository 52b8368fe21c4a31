"""Prompt learning for CLIP as Dassl trainers; importing this package registers all of them.

    import promptreg               # in a CoOp-style repository: the one line to add to its train.py
    promptreg.register(...)        # take names that the host holds, and add our datasets
    promptreg.PromptedCLIP         # trained prompts outside of Dassl
"""
import contextlib
import importlib
import os
import signal
import sys
import threading

__version__ = "0.2.0"


def _needs_nothing():
    """Whether this process is ``promptreg doctor`` or ``promptreg init``, which also run where torch is broken."""
    names = [word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe") for word in sys.orig_argv]
    return any(word in ("promptreg", "promptreg.cli", __name__, f"{__name__}.cli") and after in ("doctor", "init")
               for word, after in zip(names, names[1:], strict=False))


@contextlib.contextmanager
def _quiet_to_stop():
    """Meanwhile Ctrl-C ends a command where it is: it has done nothing yet, and a traceback of imports helps nobody."""
    command = sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0] if sys.argv else "") in COMMANDS
    ours = (command and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


COMMANDS = ("train.py", "interpret_prompt.py", "parse_test_res.py", "promptreg")
# compat.engine comes first: it settles which Dassl answers to the name, before anything asks.
PARTS = ("compat.engine", "cocoop", "coop", "gram", "ivlp", "kgcoop", "maple", "prograd", "promptsrc", "vpt", "zsclip")

importlib.import_module(".compat.old_names", __name__).install(__name__)
if __name__ != "trainers":  # in a host repository; ours has command lines that catch what they can
    importlib.import_module(".compat.excepthook", __name__).install()

if not _needs_nothing():
    with _quiet_to_stop():
        for _part in PARTS:
            importlib.import_module(f".{_part}", __name__)


def register(override=False, datasets=True):
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


def __getattr__(name):
    if name == "PromptedCLIP":  # which training does not need
        return importlib.import_module(".inference.prompted_clip", __name__).PromptedCLIP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
