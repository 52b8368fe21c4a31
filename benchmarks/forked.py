"""True processes that cost no imports: the command line in forked children of a process that has imported everything.

Import this before torch: children are safe only of a parent with one thread, which leaves the GPU alone.
"""
import os
import signal
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sklearn.datasets  # noqa: E402
import sklearn.metrics  # noqa: E402, F401
import torch.utils.tensorboard  # noqa: E402, F401
from PIL import Image  # noqa: E402

import trainers  # noqa: E402, F401
from trainers.training import run  # noqa: E402

Image.init()


def demo(trainer, *more):
    """Return the arguments of a short training of the demo: the base classes, three epochs of three batches."""
    return ["--trainer", trainer, "--root", "data", "--output-dir", "out", "--seed", "1",
            "--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"),
            "--config-file", str(ROOT / f"configs/trainers/{trainer}/demo.yaml"), *more,
            "DATASET.NUM_SHOTS", "2", "DATASET.SUBSAMPLE_CLASSES", "base", "DATALOADER.TRAIN_X.BATCH_SIZE", "3",
            "OPTIM.MAX_EPOCH", "3"]


def start(argv, folder, console="console.txt", environment=None, gate=None, prepare=lambda: None):
    """Fork a child that runs train.py's command line in ``folder``; returns its process id.

    Args:
        console: file in the folder that what it prints is added to.
        gate: file descriptor; the child waits until its other end is closed.
        prepare: called in the child first.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(folder)
        out = os.open(console, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(environment or {})
        prepare()
        if gate is not None:
            os.read(gate, 1)
        code = run.main(argv)
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid, until=None):
    """Wait for a child; returns its exit code (minus the signal's number), or None if it still runs at ``until``."""
    while True:
        found, status = os.waitpid(pid, 0 if until is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.001)


def kill(pid, number=signal.SIGKILL):
    """Send a signal to a child that has not been waited for; returns how it ended."""
    os.kill(pid, number)
    return ended(pid)
