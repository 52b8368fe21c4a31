"""What a sweep makes of squeue's answers, without any SLURM."""
import os
import time
from types import SimpleNamespace

import pytest

from trainers.errors import SetupError
from trainers.sweep import squeue
from trainers.sweep.array import Array
from trainers.sweep.plan import Job
from trainers.sweep.pool import ELSEWHERE, FAILED, FINISHED, INTERRUPTED, RUNNING, WAITING
from trainers.sweep.squeue import Element
from trainers.sweep.state import SweepState
from trainers.sweep.submission import note, noted, write_account


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return Job("CoOp digits seed 1", "CoOp", [SimpleNamespace(folders=[str(folder)], finished=False, words=("main",))])


@pytest.fixture
def array(job, tmp_path):
    """Return an array of that one job, which was submitted, and has begun."""
    made = Array([job], SweepState(tmp_path / "output"))
    made.submission = note(made.folder, [[job.slug]])
    made.add(made.submission)
    return made


def hear(array, job, state, seconds=60):
    """Let squeue say that the job's element is in a state, or is not there (""); return the job's own."""
    element = Element("6_0", state, seconds, f"a user's own {array.submission.token}")
    array.heard([element] if state else [])
    array.look()
    return array.states[job.slug]


def test_states(array, job):
    assert hear(array, job, "PENDING") == hear(array, job, "RUNNING") == WAITING, "the element imports as yet"
    lock = array.state.lock(job)
    assert hear(array, job, "RUNNING") == RUNNING and [worker.job for worker in array.workers] == [job]
    assert hear(array, job, "REQUEUED") == hear(array, job, "PENDING") == WAITING and not array.workers
    os.utime(lock.name, (1, 1))
    assert hear(array, job, "RUNNING") == WAITING, "it began before the element was started again"
    lock.close()
    job.steps[0].finished = True
    assert hear(array, job, "RUNNING") == FINISHED


@pytest.mark.parametrize("state, account, becomes", [
    ("CANCELLED", None, INTERRUPTED), ("PREEMPTED", None, INTERRUPTED), ("NODE_FAIL", None, FAILED), ("", None, FAILED),
    ("COMPLETED", INTERRUPTED, INTERRUPTED), ("COMPLETED", ELSEWHERE, ELSEWHERE), ("COMPLETED", FAILED, FAILED)])
def test_an_element_that_ended(state, account, becomes, array, job):
    """One answer is not taken for the end: a job on its way back into the queue may be missing from it."""
    array.state.lock(job).close()
    assert hear(array, job, "RUNNING") == RUNNING
    if account:
        write_account(array.folder, array.submission.key(0), {job.slug: account})
    assert hear(array, job, state) == RUNNING
    assert hear(array, job, state) == becomes
    assert (job.slug in array.failures) == (becomes == FAILED)


def test_what_is_at_work_elsewhere_is_waited_for(array, job):
    write_account(array.folder, array.submission.key(0), {job.slug: ELSEWHERE})
    with array.state.lock(job):
        for _ in range(3):
            assert hear(array, job, "COMPLETED") in (WAITING, RUNNING)
    assert hear(array, job, "COMPLETED") == ELSEWHERE


def test_times_are_the_runs_own(array, job, tmp_path):
    array.state.lock(job).close()
    result = tmp_path / "run" / "result.json"
    result.touch()
    os.utime(result, (time.time() + 75,) * 2)
    job.steps[0].finished = True
    array.look()
    assert array.seconds[job.slug] == pytest.approx(75, abs=5)


@pytest.mark.parametrize("change, found", [
    ({}, True), ({"state": "RUNNING"}, True), ({"state": "COMPLETED"}, False), ({"job_id": "6_1"}, False),
    ({"comment": "promptreg-of another"}, False), ({"comment": ""}, False)])
def test_an_earlier_sweeps_array(change, found, array, job, tmp_path):
    later = Array([job], SweepState(tmp_path / "output"))
    given = {"job_id": "6_0", "state": "PENDING", "seconds": 0, "comment": array.submission.token, **change}
    later.find(noted(later.folder), [Element(**given)])
    assert (later.waiting() == []) == found and later.others == ({"6"} if found else set())


def test_what_an_element_has_failed_at_is_submitted_again(array, job, tmp_path):
    listed = [Element("6_0", "RUNNING", 9, array.submission.token)]
    array.state.note_failure(job, job.steps[0], 1, ["error"])
    later = Array([job], SweepState(tmp_path / "output"))
    later.find(noted(later.folder), listed)
    assert later.waiting() == [job]


@pytest.mark.parametrize("text, seconds", [("0:07", 7), ("1:02:03", 3723), ("2-00:00:01", 172801), ("INVALID", 0)])
def test_elapsed_times(text, seconds):
    assert squeue.seconds(text) == seconds


def test_squeue_that_fails_is_one_line(tmp_path, monkeypatch):
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SetupError, match="squeue failed: slurm_load_jobs error: Unable to contact"):
        squeue.elements()
    program.write_text("#!/bin/sh\nprintf '6_[2-9]|PENDING|0:00|x\\n6_1|RUNNING|0:05|a | b\\n'\n")
    assert squeue.elements() == [Element("6_1", "RUNNING", 5, "a | b")]
