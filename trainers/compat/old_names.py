"""Lets modules that were moved answer to their old names, for one version, with a DeprecationWarning.

``import promptreg.load`` gives the module that is there now, itself and no copy; ``python -m promptreg.load`` runs it.
"""
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Both below the package. Of two new names, the second is the one that ``python -m`` runs.
MOVED = {
    "answer": "utils.console",
    "archive": "utils.torch_archive",
    "atomic": "utils.atomic",
    "checkpoint": "training.checkpoint",
    "clip.fetch": "cli.weights",
    "clip.heap": "clip.text",
    "doctor": "cli.doctor",
    "engine": "compat.engine",
    "export": "inference.export cli.export",
    "frozen": "clip.zero_shot",
    "host": "cli.init",
    "images": "utils.images",
    "interpret": "inference.nearest_words cli.nearest_words",
    "interrupt": "training.signals",
    "keys": "config.defaults",
    "load": "inference.prompted_clip cli.classify",
    "loader": "training.loader",
    "lock": "utils.lock",
    "lpclip": "inference.linear_probe cli.linear_probe",
    "main": "training.run",
    "meta.browse": "cli.gram_browse",
    "meta.report": "cli.gram_report",
    "meta.names": "meta.cluster_names",
    "parallel": "training.distributed",
    "registry": "compat.registry",
    "repairs": "compat.patches",
    "results.mixed": "results.consistency",
    "results.pictures": "results.plots",
    "results.record": "training.result",
    "scaling": "training.loss_scale",
    "sweep.live": "sweep.progress",
    "templates": "clip.templates",
}

# Of what one could import from a package that is a room now.
RENAMED = {"keys": "flatten", "read": "read_result", "write": "write_result", "told": "load_result"}


class CallableLoad(ModuleType):
    """A module that does, when called, what ``promptreg.load`` does."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return importlib.import_module(f"{self.__name__.partition('.')[0]}.classifier.model").load(*args, **kwargs)


class OldNames(MetaPathFinder, InspectLoader):
    """Finds the modules of ``package`` under their old names."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.specs: dict[str, ModuleSpec | None] = {}  # old name -> the module's own spec

    def target(self, fullname: str, run: bool = False) -> str | None:
        """Return the new full name of a module, None where ``fullname`` is no old name."""
        package, _, name = fullname.partition(".")
        moved = MOVED.get(name) if package == self.package else None
        return f"{package}.{moved.split()[-1 if run else 0]}" if moved else None

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        runs = self.target(fullname, run=True)
        if not runs:
            return None
        found = importlib.util.find_spec(runs)
        return ModuleSpec(fullname, self, origin=found.origin if found else None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = self.target(spec.name)
        assert new
        warnings.warn(f"{spec.name} is now {new}: the next version drops the old name", DeprecationWarning, 2)
        module = importlib.import_module(new)
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, in whose place importlib has put the old name's; it has been executed.

        importlib also puts the module in the place of ``promptreg.load``, a function today: so it can be called.
        """
        if module.__name__ == f"{self.package}.{MOVED['load'].split()[0]}":
            module.__class__ = CallableLoad
        for spec in self.specs.values():
            if spec and spec.name == module.__name__:
                module.__spec__ = spec

    def get_source(self, fullname: str) -> str:
        """Return what ``python -m OLD`` runs."""
        new = self.target(fullname, run=True)
        message = f"python -m {fullname} is now python -m {new}: the next version drops the old name"
        return (f"import sys, warnings\nfrom importlib import import_module\n"
                f"warnings.warn({message!r}, DeprecationWarning)\nsys.exit(import_module({new!r}).main())\n")

    def is_package(self, fullname: str) -> bool:
        return False


def install(package: str) -> None:
    """Let the modules of ``package`` be found under their old names, where no other finder has one of that name."""
    sys.meta_path.append(OldNames(package))


def attribute(package: str, name: str, modules: str) -> object:
    """Return what ``from package import name`` meant before ``package`` was a room; one of ``modules`` has it now.

    Raises:
        AttributeError: none has.
    """
    is_module = importlib.util.find_spec(f"{package}.{name}")  # which the import system asks for before it imports it
    for new in () if name.startswith("__") or is_module else modules.split():
        module = importlib.import_module(f"{package.partition('.')[0]}.{new}")
        found = name if hasattr(module, name) else RENAMED.get(name, name)
        if hasattr(module, found):
            renamed = "" if found == name else f", as {found}"
            warnings.warn(f"{package}.{name} is now in {module.__name__}{renamed}: the next version drops the old name",
                          DeprecationWarning, 3)
            return getattr(module, found)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
