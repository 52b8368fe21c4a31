"""The methods that have published scripts, and the settings: what a sweep is asked for; it needs no torch."""
import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..config import lookup
from ..errors import InputError
from ..protocols.names import ALIASES
from ..results.published import BENCHMARK_DATASETS, EMBEDDED, VARIANTS
from ..utils.paths import SCRIPTS

SETTINGS = ("base2new", "few_shot", "xd", "dg")
SHOTS = (1, 2, 4, 8, 16)
TARGETS = {"base2new": BENCHMARK_DATASETS, "few_shot": BENCHMARK_DATASETS,
           "xd": [key for key in BENCHMARK_DATASETS if key != "imagenet"],
           "dg": [key for key in VARIANTS if key not in EMBEDDED]}


@dataclass(frozen=True)
class Method:
    """A method's scripts below scripts/: names without ".sh", and which of them take the seed as an argument.

    Those that do not loop over the environment's SEEDS.
    """

    folder: str
    train: str = "base2new_train"
    test: str = "base2new_test"
    few_shot: str = "few_shot"
    xd_train: str = "xd_train"
    xd_test: str = "xd_test"
    seed_argument: tuple = ("train", "test", "xd_train", "xd_test")
    environment: dict = field(default_factory=dict)
    first: tuple = ()  # arguments of all its scripts before those that all methods' have


def _suffixed(folder: str, suffix: str) -> Method:
    return Method(folder, "base2new_train" + suffix, "base2new_test" + suffix, "few_shot", "xd_train" + suffix,
                  "xd_test" + suffix)


METHODS = {
    "ZeroshotCLIP": Method("zsclip", "", "base2new_test", "zeroshot", "", "zeroshot", ("test",)),
    "ZeroshotCLIP2": Method("zsclip", "", "base2new_test", "zeroshot", "", "zeroshot", ("test",),
                            {"TRAINER": "ZeroshotCLIP2"}),
    "CoOp": Method("coop", few_shot="main", xd_train="main", xd_test="eval", seed_argument=()),
    "CoCoOp": Method("cocoop"),
    "KgCoOp": Method("kgcoop", seed_argument=("xd_train", "xd_test")),
    "ProGrad": Method("prograd", xd_train="few_shot", xd_test="eval", seed_argument=()),
    "VPT": _suffixed("vpt", "_vpt"),
    "IVLP": _suffixed("independent-vlp", "_ivlp"),
    "MaPLe": _suffixed("maple", "_maple"),
    "PromptSRC": Method("promptsrc"),
    "TCP": Method("tcp"),
    "MultiModalAdapter": Method("mma"),
    "ProMetaR": Method("prometar"),
    **{name: Method("gram", environment={"TRAINER": name})
       for name in ("GRAMCoOp", "GRAMCoCoOp", "GRAMVPT", "UNIGRAM", "GRAMProGrad", "GRAMPromptSRC")},
    **{f"DePT+{name}": Method("dept", environment={"TRAINER": f"DePT+{name}"})
       for name in ("CoOp", "CoCoOp", "KgCoOp", "MaPLe", "PromptSRC", "IVLP", "VPT")},
}
XD_SHOTS = {"ProGrad": 4}  # all others: 16


def scripts_of(method: str) -> Method | None:
    """Return a method's scripts: its own, else those of any trainer that has a config; None where it has none."""
    if method in METHODS:
        return METHODS[method]
    known = method.rpartition("+")[2] in lookup.methods()  # of a composition the method
    return Method("any", first=(method,)) if known and method != "GRAM" else None


def known_methods() -> list[str]:
    """Return the names of all methods that a sweep can run."""
    return [*METHODS, *(name for name in lookup.methods() if name not in METHODS and name != "GRAM")]


def check_names(methods: Sequence[str], datasets: Sequence[str], source: str) -> None:
    """Raise InputError for a method, dataset or source that a sweep does not know; it names the nearest."""
    known = sorted(path.stem for path in (SCRIPTS.parent / "configs" / "datasets").glob("*.yaml"))
    for name in methods if list(methods) != ["all"] else ():
        _check_name(ALIASES.get(name, name), known_methods(), "--methods")
    for name in datasets if list(datasets) != ["all"] else ():
        _check_name(name, known, "--datasets")
    _check_name(source, known, "--source")


def _check_name(name: str, known: Collection[str], flag: str) -> None:
    if name not in known and name.rpartition("+")[2] not in known:  # of a composition the method
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
        raise InputError(f"{flag} {name}: {hint}")
