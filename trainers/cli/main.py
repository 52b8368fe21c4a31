"""The command promptreg: its verbs, and how one of them is found and run."""
import difflib
import sys
from importlib import import_module, util

from ..errors import InputError
from ..utils.console import cli_errors
from ..utils.paths import PACKAGE

# group -> {verb: (module in this room, what it does)}
VERBS = {
    "your own pictures": {
        "fit": ("fit", "train a classifier on a folder of pictures, or a CSV"),
        "classify": ("classify", "classify pictures with trained prompts")},
    "experiments": {
        "train": ("train", "train or evaluate: METHOD/CONFIG DATASET, or CoOp's flags"),
        "sweep": ("sweep", "methods x datasets x shots x seeds, resumable, then the table"),
        "study": ("study", "the papers' settings and claims on emoji, within the hour"),
        "results": ("results", "tables, pictures and a report of finished runs"),
        "linear-probe": ("linear_probe", "CoOp's linear probe"),
        "gram": ("gram", "GRAM's meta-training: meta-train, evaluate, report, browse")},
    "trained prompts": {
        "export": ("export", "as plain data, as ONNX, or as the published code reads them"),
        "interpret": ("nearest_words", "nearest words of each learned vector")},
    "what is needed": {
        "data": ("data", "datasets: fetch, check, show"),
        "weights": ("weights", "fetch CLIP's weights"),
        "ls": ("ls", "methods, configs, datasets, weights, runs"),
        "doctor": ("doctor", "what this machine has and lacks")},
    "in a repository of yours": {
        "script": ("script", "what the files below scripts/ call"),
        "init": ("init", "write our configs and scripts into a CoOp-style repository"),
        "new-method": ("new_method", "write a method's file, yaml and test"),
        "completion": ("completion", "shell completion for bash or zsh")},
}
MODULES = {verb: module for group in VERBS.values() for verb, (module, _) in group.items()
           if util.find_spec(f"{__package__}.{module}")}


def overview() -> str:
    """Return the verbs in groups, a line each."""
    lines = ["promptreg VERB …; promptreg VERB --help lists its flags"]
    for group, verbs in VERBS.items():
        lines += ["", f"{group}:"]
        lines += [f"  promptreg {verb:13} {what}" for verb, (_, what) in verbs.items() if verb in MODULES]
    return "\n".join([*lines, "", "  promptreg --version"])


@cli_errors
def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns its exit code. Without one: the verbs, and 2."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    verb, rest = words[0], words[1:]
    if verb in ("--version", "-V"):
        print(f"promptreg {sys.modules[PACKAGE].__version__}")
        return 0
    if verb not in MODULES:
        near = difflib.get_close_matches(verb, MODULES, 1)
        raise InputError(f"there is no command {verb}: "
                         + (f"did you mean {near[0]}?" if near else f"choose from {', '.join(MODULES)}"))
    return import_module(f"{__package__}.{MODULES[verb]}").main(rest)
