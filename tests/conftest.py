"""Puts the checkout's root first on the path, so that tests run what lies beside them, and keeps CPU use modest."""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: a second thread would only wait for the first
GOLDEN = ROOT / "tests" / "golden"

REAL_DASSL = os.environ.get("PROMPTREG_REAL_DASSL")
if REAL_DASSL:  # a checkout of Dassl (the folder that holds dassl/), to run every test on it and not on minidassl
    sys.path.insert(0, REAL_DASSL)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [REAL_DASSL, os.environ.get("PYTHONPATH")]))
