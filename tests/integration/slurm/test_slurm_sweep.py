"""Sweeps on a true SLURM: all jobs run, what SLURM does to them is survived, and what is said of it is right."""
import os
import signal

import pytest

pytestmark = pytest.mark.slow  # an element imports torch


def test_more_jobs_than_slots(sweeps, cluster):
    """Five elements, at most three at a time, on two nodes without accounting: a line a job, and no word of sacct."""
    code, out = sweeps.call(5, "--jobs", "3")
    assert code == 0, out
    assert sweeps.results() == 5 and all(len(lines) == 1 for lines in sweeps.logs().values())
    assert "submitted array" in out and ": 5 elements, 5 jobs" in out
    assert out.count("finished: CoOp digits 1 shots seed") == 5
    for word in ("sacct", "accounting", "WARNING", "submitit", "note: squeue"):
        assert word not in out, out


def test_requeued(sweeps, cluster):
    """``scontrol requeue`` is no failure."""
    sweep = sweeps.held(2, FAKE_SAVE="0")
    sweeps.at_work(2)
    first = min(cluster.states())
    cluster.call("scontrol", "requeue", first)
    cluster.restart(first)
    sweeps.at_work(3)
    sweeps.release()
    code, out = sweeps.ended(sweep)
    assert code == 0 and "failed" not in out and "interrupted" not in out, out
    assert sweeps.results() == 2 and sweeps.saved() == 1
    assert sorted(map(len, sweeps.logs().values())) == [1, 2]


def test_cancelled_element_and_array(sweeps, cluster):
    sweep = sweeps.held(2, FAKE_SAVE="0")
    sweeps.at_work(2)
    one, other = sorted(cluster.states())
    cluster.call("scancel", one)
    cluster.wait(lambda: list(cluster.states()) == [other], "the other alone")
    cluster.call("scancel", other.partition("_")[0])
    code, out = sweeps.ended(sweep)
    assert code == 75 and out.count("\ninterrupted: CoOp digits") == 2 and "failed" not in out, out
    assert sweeps.saved() == 2 and sweeps.results() == 0


def test_killed_and_started_again(sweeps, cluster):
    """It finds its jobs, submits none twice, and what it found is left to run where it is stopped."""
    first = sweeps.held(2)
    sweeps.at_work(2)
    first.kill()
    first.join()
    there = set(cluster.states())
    second = sweeps.held(3)
    sweeps.at_work(3)
    os.kill(second.pid, signal.SIGTERM)
    code, out = sweeps.ended(second)
    assert code == 130 and "2 jobs of array" in out and "not submitted again" in out and ": 1 element, 1 job" in out
    assert "submitted before, goes on" in out
    cluster.wait(lambda: set(cluster.states()) == there, "end of what the second has submitted")
    third = sweeps.begin(2)
    sweeps.says(third, "2 jobs of array")
    sweeps.release()
    code, out = sweeps.ended(third)
    assert code == 0 and "submitted array" not in out and out.count("] finished: CoOp digits") == 2, out
    assert [len(lines) for _, lines in sorted(sweeps.logs().items())] == [1, 1, 1] and sweeps.results() == 2


def test_two_at_once(sweeps, cluster):
    """One of them submits, the other finds."""
    both = [sweeps.held(2), sweeps.held(2)]
    for each in both:
        sweeps.says(each, " array ")
    sweeps.at_work(2)
    sweeps.release()
    ended = [sweeps.ended(each) for each in both]
    assert [code for code, _ in ended] == [0, 0], ended
    assert sorted("submitted array" in out for _, out in ended) == [False, True]
    assert all(out.count("] finished: CoOp digits") == 2 for _, out in ended), ended
    assert [len(lines) for lines in sweeps.logs().values()] == [1, 1]


def test_left_and_collected(sweeps, cluster):
    """``--no-wait`` leaves; a later sweep finds what waits and what has failed, which it submits again."""
    cluster.call("scontrol", "update", "PartitionName=main", "State=DOWN")
    code, out = sweeps.call(2, "--no-wait", FAKE_FAIL="seed2")
    assert code == 0 and ": 2 elements, 2 jobs" in out and not sweeps.logs()
    code, out = sweeps.call(2, "--no-wait")
    assert code == 0 and "2 jobs of array" in out and "submitted array" not in out
    cluster.call("scontrol", "update", "PartitionName=main", "State=UP")
    cluster.wait(lambda: not cluster.states(), "end of the array")
    assert sweeps.results() == 1
    code, out = sweeps.call(2)
    assert code == 0 and ": 1 element, 1 job" in out, out
    assert sweeps.results() == 2 and sorted(map(len, sweeps.logs().values())) == [1, 2]
