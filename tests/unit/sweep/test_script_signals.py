"""SLURM signals every process of a step: a script outlives that until its run has saved, and has its exit code."""
import os
import signal
import time

import pytest

from trainers.cli.script import perform

RUN = """trap 'sleep 0.5; touch saved; exit 75' {name}
touch ready
while true; do sleep 0.1; done
"""


@pytest.mark.parametrize("name", ["TERM", "USR1", "USR2"])
def test_a_script_hands_a_signal_on_and_waits(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.sh").write_text(RUN.format(name=name))
    script = os.fork()
    if script == 0:
        os._exit(perform(["bash", "run.sh"], dict(os.environ)))
    deadline = time.time() + 60
    while not (tmp_path / "ready").exists():
        assert time.time() < deadline
        time.sleep(0.05)
    os.kill(script, getattr(signal, f"SIG{name}"))
    _, status = os.waitpid(script, 0)
    assert os.waitstatus_to_exitcode(status) == 75 and (tmp_path / "saved").exists()
