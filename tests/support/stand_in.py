"""A stand-in for Dassl 0.6.3, or 0.5.0, as a folder to put on the path.

    python tests/support/stand_in.py FOLDER [0.5.0]
"""
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def build(folder, version="0.6.3"):
    """Write the package dassl into ``folder`` (see dassl_063 and dassl_050/README.md); returns the folder."""
    package = Path(folder) / "dassl"
    shutil.copytree(HERE.parent / "minidassl", package, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("dassl_063", "dassl_050")[:1 if version == "0.6.3" else 2]:
        for file in (HERE / part).rglob("*.py"):
            target = package / file.relative_to(HERE / part)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "a", encoding="utf-8") as out:
                out.write(file.read_text(encoding="utf-8"))
    return Path(folder)


if __name__ == "__main__":
    print(build(*sys.argv[1:]))
