"""Files for readers and for services: their links lead somewhere, their YAML is valid."""
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from trainers.compat.registry import TRAINERS

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
SERVICES = [*FORMS, *(ROOT / ".github" / "workflows").glob("*.yml"),
            *(ROOT / name for name in (".pre-commit-config.yaml", "mkdocs.yml", "CITATION.cff"))]
FOR_READERS = ("*.md", "docs/**/*.md", "benchmarks/*.md", "trainers/**/README.md", "tests/*/README.md")
PAGES = sorted({page for pattern in FOR_READERS for page in ROOT.glob(pattern)})

NO_METHODS = {"__init__", "__main__", "base", "prompts", "errors", "dept", "gram"}  # the last two wrap
METHODS = sorted({path.stem for path in (ROOT / "trainers").glob("*.py")} - NO_METHODS)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs name them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("module", METHODS)
def test_a_method_has_all_that_contributing_asks_for(module):
    """Its room in the import contract, without which it is held to no rule; a config; rows for its trainers."""
    contract = (ROOT / ".importlinter").read_text()
    names = [name for name, cls in TRAINERS.entries.items()
             if getattr(cls, "METHOD", cls).__module__ == f"trainers.{module}"]
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("methods.md", "gram.md"))
    assert names and re.search(rf"\btrainers\.{module}\b", contract), (
        f".importlinter: add trainers.{module} where the other methods stand, in each contract")
    assert any(list((ROOT / "configs" / "trainers" / name).glob("*.yaml")) for name in names), (
        f"make configs/trainers/{names[0]}/NAME.yaml")
    names = [name for name in names if "+" not in name]  # compositions have their parts' rows
    assert not [name for name in names if not re.search(rf"\b{name}\b", pages)], (
        "docs/methods.md: add a row with the trainer's name")


@pytest.mark.parametrize("path", SERVICES, ids=lambda p: str(p.relative_to(ROOT)))
def test_yaml_for_services_is_valid(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", [p for p in FORMS if p.name != "config.yml"], ids=lambda p: p.name)
def test_an_issue_form_has_what_a_form_needs(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_workflow_and_hooks_call_what_is_there():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    commands += [hook["entry"] for hook in hooks if hook["entry"].startswith("bash ")]
    assert len(commands) >= 4
    for command in commands:
        _, script, *checks = command.split()
        assert subprocess.run(["bash", "-n", script], cwd=ROOT).returncode == 0
        for check in checks:
            assert f"check_{check}() {{" in (ROOT / script).read_text()


def test_the_citation_is_of_this_version():
    version = re.search(r'__version__ = "(.+)"', (ROOT / "trainers/__init__.py").read_text())[1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
