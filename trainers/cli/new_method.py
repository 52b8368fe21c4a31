"""Writes a method of your own: its file, its configs and its test, ready to be trained, swept, studied and changed.

    promptreg new-method Smooth --from CoOp

In a checkout of PromptReg the file goes into trainers/, where it is found by itself; elsewhere it goes here, and
PROMPTREG_METHODS names it for promptreg's commands. To start from prompts and a gradient rule instead, copy Tandem of
docs/new-method.md.
"""
import argparse
import importlib.util
import keyword
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..utils.console import Parser, command
from ..utils.paths import PACKAGE_ROOT, packaged
from ..utils.startup import load_package

BASES = ("CoOp", "CoCoOp", "VPT", "IVLP", "MaPLe", "KgCoOp", "PromptSRC")  # whose loss is one number
LONGEST = 120

METHOD = '''"""{name}: {base}, and a pull of what is learned towards where it started. Change what the loss adds."""
from typing import Any

from torch import Tensor

from {package}.base import declare, register
from {package}.{module} import {base}

declare({keys})


@register
class {name}({base}):
    """{base}'s loss + PULL * mean squared distance of the prompts from their start.

    Keys, TRAINER.{section}: {base}'s, and PULL.
    """

    SECTION = "{section}"

    def prepare_training(self) -> None:
        super().prepare_training()
        self.start = [parameter.detach().clone() for parameter in self.prompts.parameters()]

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        loss, figures = super().loss(images, labels)
        pairs = zip(self.prompts.parameters(), self.start, strict=True)
        distance = sum((parameter - start).square().mean() for parameter, start in pairs)
        loss = loss + self.method_cfg.PULL * distance
        return loss, {{**figures, "loss": loss}}
'''

TEST = '''"""{name} on the demo's CLIP: it gives logits, starts as {base} does, and PULL changes its loss."""
import torch

{imports}
CLASSES = ["zero", "one", "two"]


def test_{stem}():
    images, labels = torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2] * 2)
    losses = {{}}
    for pull in (0.0, 10.0):
        torch.manual_seed(1)
        method = {name}.from_backbone("demo", CLASSES, PREC="fp32", PULL=pull, **DEMO)
        method.prepare_training()
        assert method.eval()(images).shape == (6, 3)
        first, _ = method.train().loss(images, labels)
        first.backward()
        assert all(parameter.grad is not None for parameter in method.prompts.parameters() if parameter.requires_grad)
        with torch.no_grad():
            for parameter in method.prompts.parameters():
                parameter.add_(0.1)
        losses[pull] = float(first.detach()), float(method.loss(images, labels)[0].detach())
    assert losses[0.0][0] == losses[10.0][0], "nothing has moved yet"
    assert losses[10.0][1] > losses[0.0][1], "what has moved is pulled back"
'''


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg new-method", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", help="the class's, and the trainer's, name: Smooth")
    p.add_argument("--from", dest="base", default="CoOp", choices=BASES, help="the method it starts as (default: CoOp)")
    return p


def run(args: argparse.Namespace) -> int:
    """Write the files; returns the exit code."""
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]+", args.name):
        raise InputError(f"{args.name}: give a class's name of letters and digits, with a capital first: Smooth")
    load_package()
    from ..compat.registry import TRAINERS
    if args.name in TRAINERS.entries:
        raise InputError(f"{args.name}: there is a method of this name: choose another")
    here = (Path.cwd() / "trainers").resolve() == PACKAGE_ROOT
    if not here and Path("trainers", "cli", "new_method.py").exists():
        raise InputError(f"this folder is a checkout of PromptReg, and the promptreg that runs is {PACKAGE_ROOT}: call "
                         "python -m trainers new-method here, or pip install -e . first")
    _check_names(args.name, here)
    files = written(args.name, TRAINERS.entries[args.base], here)
    for path in files:
        if path.exists():
            raise InputError(f"{path} is there already: choose another name, or move it")
    for path in files:  # all folders first: nothing is written where one cannot be made
        path.parent.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    print("\n".join(f"wrote {path}" for path in files))
    method, *_, test = files
    if not here:
        print(f"for promptreg's commands: export PROMPTREG_METHODS={method.absolute()}")
    print(f"try it: python -m pytest {test}\n        promptreg train {args.name}/demo digits OPTIM.MAX_EPOCH 2\n"
          f"        promptreg sweep --methods {args.name} {args.base} --setting base2new --datasets digits --cfg demo "
          f"--shots 16\n        promptreg study --methods {args.name} --against {args.base} --quick")
    return 0


def _check_names(name: str, here: bool) -> None:
    """Raise InputError where the class, the config section or the module would take the place of another."""
    from ..config.defaults import defaults_of
    stem = name.lower()
    if keyword.iskeyword(name) or keyword.iskeyword(stem):
        raise InputError(f"{name}: it is a word of Python's: choose another name")
    if defaults_of(name.upper()):
        raise InputError(f"{name}: TRAINER.{name.upper()} is another method's config section: choose another name")
    module = f"{__package__.rpartition('.')[0]}.{stem}" if here else stem
    found = importlib.util.find_spec(module)
    if found and found.origin != str(Path.cwd() / f"{stem}.py"):  # one of this folder is named with its path, below
        raise InputError(f"{name}: {stem}.py would hide the module {module} ({found.origin}): choose another name")


def written(name: str, base: Any, here: bool) -> dict[Path, str]:
    """Return {path: text} of the method's file, its configs and its test.

    Args:
        name: the method's.
        base: the trainer class of the method it starts as.
        here: whether this folder is a checkout of PromptReg.
    """
    from ..config.defaults import defaults_of
    stem, section, origin = name.lower(), name.upper(), base.METHOD.__module__.rpartition(".")[2]
    keys = {**defaults_of(base.SECTION), "PULL": 0.1}
    values = {"name": name, "base": base.__name__, "section": section, "stem": stem, "module": origin,
              "package": "" if here else "promptreg", "keys": _wrapped([f'"{section}"', *(
                  f"{key}={value!r}".replace("'", '"') for key, value in keys.items())])}
    configs = {file: Path(packaged("configs"), "trainers", base.__name__, file).read_text(encoding="utf-8")
               for file in ("demo.yaml", "study.yaml")}
    demo = _demo_keys(configs["demo.yaml"], base.SECTION)
    package = "trainers" if here else "promptreg"
    imports = (f"from {package}.{stem} import {name}\n" if here else
               f"import promptreg  # noqa: F401  (finds Dassl, or minidassl)\nfrom {stem} import {name}\n")
    imports += f"\nDEMO = {demo!r}".replace("'", '"') + "  # of the demo's config: it has six layers"
    return {Path("trainers" if here else ".", f"{stem}.py"): METHOD.format(**values),
            **{Path("configs", "trainers", name, file): re.sub(f"(?m)^  {base.SECTION}:", f"  {section}:", text)
               for file, text in configs.items()},
            Path("tests/unit/methods" if here else ".", f"test_{stem}.py"): TEST.format(**values, imports=imports)}


def _demo_keys(text: str, section: str) -> dict[str, Any]:
    import yaml
    keys = yaml.safe_load(text).get("TRAINER", {}).get(section) or {}
    return {key: value for key, value in keys.items() if "DEPTH" in key}


def _wrapped(words: list[str]) -> str:
    lines, indent = [words[0]], " " * len("declare(")
    for word in words[1:]:
        if len(f"{indent}{lines[-1].strip()}, {word},") > LONGEST:
            lines[-1] += ","
            lines.append(indent + word)
        else:
            lines[-1] += f", {word}"
    return "\n".join(lines)


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
