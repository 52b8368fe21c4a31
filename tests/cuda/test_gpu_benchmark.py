"""benchmarks/gpu.py, a smoke test: its parts on a CPU, and on the pretended device, where no figure means anything."""
import os
import subprocess
import sys

from support.paths import ROOT

PRETENDED = """
import gpu
from support.pretend_cuda import PretendCuda
gpu.Bench.launches = lambda self: {}  # the profiler has nothing to see, and takes minutes to say so
with PretendCuda():
    raise SystemExit(gpu.main(["--quick", "--out", ""]))
"""


def run(*command):
    paths = f"{ROOT}:{ROOT / 'benchmarks'}:{ROOT / 'tests'}"
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": paths})


def test_its_parts_run_on_a_cpu():
    done = run("benchmarks/gpu.py", "--quick", "--device", "cpu", "--out", "")
    assert done.returncode == 0 and "6 parts, 0 failed" in done.stdout, done.stdout + done.stderr[-2000:]


def test_its_parts_run_on_the_pretended_device():
    done = run("-c", PRETENDED)
    assert done.returncode == 0 and "6 parts, 0 failed" in done.stdout, done.stdout + done.stderr[-2000:]
    assert "'captured': True" in done.stdout and "same bits with and without graph: PromptSRC fp16: True" in done.stdout
