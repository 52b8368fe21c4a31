"""Puts the checkout's root first on the path, so that tests run what lies beside them, and keeps CPU use modest."""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: a second thread would only wait for the first
GOLDEN = ROOT / "tests" / "golden"
