"""promptreg doctor: what of this machine the house can use; each line that is not ok says what to do.

It imports one thing after the other and survives what cannot be imported.
"""
import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..utils.console import Parser
from ..utils.paths import PACKAGE

# import name -> name for pip; torch first, since the others stand on it
NEEDED = {"torch": "torch", "torchvision": "torchvision", "numpy": "numpy", "PIL": "Pillow", "yacs": "yacs",
          "ftfy": "ftfy", "regex": "regex", "safetensors": "safetensors", "sklearn": "scikit-learn",
          "scipy": "scipy", "yaml": "PyYAML", "tqdm": "tqdm", "open_clip": "open_clip_torch"}
OPTIONAL = {"onnxruntime": ("onnx", "ONNX export"), "submitit": ("cluster", "runs on a cluster"),
            "faiss": ("faiss", "clustering of large corpora")}
BACKBONES = ("demo", "study", "ViT-B/16", "ViT-B/32", "ViT-L/14", "RN50", "RN101")


class Report:
    """Prints the lines and counts what is broken."""

    def __init__(self) -> None:
        self.broken = 0

    def ok(self, text: str) -> None:
        print(f"ok    {text}")

    def note(self, text: str, remedy: str) -> None:
        """Something that one can do without."""
        print(f"note  {text}: {remedy}")

    def fail(self, text: str, remedy: str) -> None:
        """Something without which nothing, or not this, runs."""
        self.broken += 1
        print(f"FAIL  {text}: {remedy}")


def reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def parser() -> Parser:
    """Return the parser of the command."""
    p = Parser(prog="promptreg doctor", description=__doc__)
    p.add_argument("--root", default=os.environ.get("DATA", "data"), help="folder of the datasets")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 3 where something needed is broken."""
    return run(parser().parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Print the report; returns 0, or 3 where something needed is broken."""
    report = Report()
    usable = packages(report)
    if usable:
        usable = dassl(report)
    else:
        report.note("Dassl, weights and datasets are not looked at",
                    "mend the packages above and run promptreg doctor again")
    if usable:
        weights(report)
        cache(report)
        datasets(report, args.root)
    print(f"{report.broken} to mend" if report.broken else "nothing to mend")
    return 3 if report.broken else 0


def packages(report: Report) -> bool:
    """Report on Python and the packages; returns whether all that are needed can be imported."""
    before, broken = report.broken, set()
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= (3, 10):  # noqa: UP036  an older Python is what this is to find
        report.ok(f"Python {version}")
    else:
        report.fail(f"Python {version} is too old", "make an environment with Python 3.10 or newer")
    for name, pip in NEEDED.items():
        if name == "open_clip" and broken & {"torch", "torchvision"}:
            report.note("open_clip is not tried", "it stands on torch and torchvision; mend these first")
            continue
        already = report.broken
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            missing = getattr(error, "name", None) == name
            if missing:
                report.fail(f"{name} is not installed", f"pip install {pip}")
            else:
                report.fail(f"{name} cannot be imported ({reason(error)})", reinstall(pip))
        except Exception as error:  # a broken binary has many ways to say so
            report.fail(f"{name} cannot be imported ({reason(error)})", reinstall(pip))
        else:
            report.ok(f"{name} {getattr(module, '__version__', '')}{devices(module) if name == 'torch' else ''}")
        if report.broken > already:
            broken.add(name)
    for name, (extra, purpose) in OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            report.note(f"{name} is not installed", f'for {purpose}, pip install "promptreg[{extra}]"')
    return report.broken == before


def reinstall(pip: str) -> str:
    together = " torch" if pip == "torchvision" else ""  # the two are built for each other
    return f"install it anew with pip install --force-reinstall{together} {pip}"


def devices(torch: Any) -> str:
    if torch.cuda.is_available():
        return ", " + ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return ", no GPU: runs take the CPU"


def dassl(report: Report) -> bool:
    """Report on Dassl and on our trainers; returns whether they can be imported."""
    try:
        for part in sys.modules[PACKAGE].PARTS:
            importlib.import_module(f"{PACKAGE}.{part}")
        from ..compat import engine
    except Exception as error:
        report.fail(f"the trainers cannot be imported ({reason(error)})",
                    "mend what it names; if it is Dassl, uninstalling it helps too")
        return False
    report.ok(engine.describe())
    for line in engine.repaired:
        report.ok(f"repaired for this process: {line}")
    return True


def weights(report: Report) -> None:
    from ..clip.weights import EMBEDDED, locate
    from ..errors import InputError
    folder = Path("~/.cache/clip").expanduser()
    try:
        if folder.exists():
            os.listdir(folder)
    except OSError as error:
        report.fail(f"{folder} cannot be read ({error.strerror})", "mend its permissions, or move it away")
    for name in BACKBONES:
        try:
            report.ok(f"weights of {name}: {locate(name)}")
        except InputError as error:
            fetch = f"fetch them with promptreg weights {name}"
            report.note(f"weights of {name} are not there", fetch if name not in EMBEDDED else str(error))
        except OSError as error:
            report.fail(f"weights of {name} cannot be looked for ({error.strerror}: {error.filename})",
                        "mend its permissions")


def cache(report: Report) -> None:
    from ..clip.zero_shot import folder
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder(), prefix=".doctor-"):
            os.listdir(folder())
        report.ok(f"cache of text features: {folder()}")
    except OSError as error:
        report.fail(f"the cache of text features {folder()} cannot be used ({error.strerror})",
                    "set PROMPTREG_CACHE to a folder of your own, or train with --no-cache")


def datasets(report: Report, root: str) -> None:
    try:
        package = importlib.import_module(f"{PACKAGE}.compat.engine").sibling("datasets")
    except Exception as error:
        report.fail(f"the datasets cannot be imported ({reason(error)})", "mend what it names")
        return
    root = os.path.abspath(os.path.expanduser(root))
    for name, cls in sorted(package.CLASSES.items()):
        if name in ("ImageFolder", "Digits"):  # the one has a root of its own, the other is made where it is missing
            continue
        missing = cls.missing(root)
        if os.path.isdir(os.path.join(root, cls.folder)) and not missing:
            report.ok(f"dataset {name}: {os.path.join(root, cls.folder)}")
        else:
            lacks = f" (no {', '.join(missing)})" if missing and os.path.isdir(os.path.join(root, cls.folder)) else ""
            report.note(f"dataset {name} is not under {root}{lacks}",
                        f"promptreg data fetch {name} --root {root}")
