"""Methods of one's own in files outside of this package: PROMPTREG_METHODS names them, and commands import them."""
import importlib.util
import os
import sys
from pathlib import Path

from ..errors import InputError
from ..utils.paths import PACKAGE

VARIABLE = "PROMPTREG_METHODS"


def load() -> None:
    """Import the files that PROMPTREG_METHODS names, parted by os.pathsep as in PATH; each registers its methods.

    Raises:
        InputError: there is no such file, or it cannot be imported.
    """
    files = list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
    if files:
        _answer_to_installed_name()
    for name in files:
        path = Path(name).expanduser().absolute()
        if path.suffix != ".py" or not path.is_file():
            raise InputError(f"{VARIABLE}: {name} is no Python file: correct it")
        if getattr(sys.modules.get(path.stem), "__file__", None) == str(path):
            continue
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (ImportError, SyntaxError) as error:
            raise InputError(f"{VARIABLE}: {name} cannot be imported ({error}): correct it") from error


def _answer_to_installed_name() -> None:
    """Let ``import promptreg`` mean this package in a checkout, where it is ``trainers``.

    Else the files would register their methods with a second copy of it, whose wrappers and methods are others.
    """
    if "promptreg" not in sys.modules:  # that is, it is not the name of this one
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == PACKAGE:
                sys.modules["promptreg" + name.removeprefix(PACKAGE)] = module
