"""docs/quickstart.ipynb runs from top to bottom, and comes to what it says."""
import ast
import os

import nbformat
import pytest
from nbclient import NotebookClient
from support.paths import ROOT


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The text that each code cell gives."""
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "dropin"), str(ROOT)]))
        patch.setenv("IPYTHONDIR", str(folder))
        there = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=there).execute()
    return [next((output["data"]["text/plain"] for output in cell.outputs if "data" in output), "")
            for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_gives_a_classifier(outputs):
    pictures, classifier, three, fours, figures, others, table = outputs
    assert pictures == "150"
    assert classifier.startswith("<Classifier CoOp on demo, 6 classes (five, four, one, three, two, zero), cpu, ")
    name, share = ast.literal_eval(three)[0]
    assert name == "three" and 0.5 < share <= 1
    assert ast.literal_eval(fours).count("four") >= 8
    accuracy, confusion, page = ast.literal_eval(figures)
    assert accuracy > 70 and confusion and page is True, "chance is 16.7"
    assert ast.literal_eval(others)[0][0] == "zero" and len(ast.literal_eval(others)) == 2
    assert "CoOp" in table and "photos" in table


def test_the_kept_outputs_are_what_it_gives(outputs):
    kept = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    texts = [next(output["data"]["text/plain"] for output in cell.outputs if "data" in output)
             for cell in kept.cells if cell.cell_type == "code"]
    assert texts[0] == outputs[0] and texts[1].partition(", accuracy")[0] == outputs[1].partition(", accuracy")[0]
    assert ast.literal_eval(texts[4])[0] == pytest.approx(ast.literal_eval(outputs[4])[0], abs=5), "percent"
