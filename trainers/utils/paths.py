"""Where this package lies and what came with it; no other file of the package reads its own location."""
from pathlib import Path

from ..errors import InputError

PACKAGE = __package__.rpartition(".")[0]  # its name: trainers in a checkout, promptreg when installed
PACKAGE_ROOT = Path(__file__).resolve().parents[1]


def first_folder(*places: Path) -> Path:
    """Return the first of ``places`` that is there, else the last."""
    return next((place for place in places if place.is_dir()), places[-1])


SCRIPTS = first_folder(PACKAGE_ROOT.parent / "scripts", PACKAGE_ROOT / "scripts")
PUBLISHED = first_folder(PACKAGE_ROOT.parent / "results" / "published", PACKAGE_ROOT / "published")


def packaged(name: str) -> Path:
    """Return the folder ``configs`` or ``scripts`` that came with this package.

    Raises:
        InputError: it was copied without.
    """
    places = [PACKAGE_ROOT / name] + ([PACKAGE_ROOT.parent / name] if PACKAGE_ROOT.name == "trainers" else [])
    for place in places:
        if place.is_dir():
            return place
    raise InputError(f"{PACKAGE_ROOT} came without its {name}: copy the folder {name} of PromptReg to {places[0]}")
