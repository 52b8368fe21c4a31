"""Keeps CPU use modest and, where asked to, runs every test on a real Dassl; the paths are pyproject.toml's."""
import os
import sys

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: a second thread would only wait for the first

REAL_DASSL = os.environ.get("PROMPTREG_REAL_DASSL")
if REAL_DASSL:  # a checkout of Dassl (the folder that holds dassl/), to run every test on it and not on minidassl
    sys.path.insert(0, REAL_DASSL)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [REAL_DASSL, os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Return a function from a kind of tiny CLIP to the file of its weights."""
    from support import reference  # once Dassl is found: not before the path above is set
    folder = tmp_path_factory.mktemp("weights")
    return lambda kind: reference.weights_file(kind, folder)
