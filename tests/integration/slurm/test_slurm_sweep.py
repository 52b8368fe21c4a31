"""Sweeps on a true SLURM: all jobs run, what SLURM does to them is survived, and what is said of it is right."""
import os
import signal
import subprocess

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


def test_preempted(sweeps, cluster):
    """What leaves within its grace time counts as ended: the element puts itself back into the queue."""
    sweep = sweeps.held(1, FAKE_SAVE="0")
    sweeps.at_work(1)
    job, = cluster.states()
    cluster.call("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    cluster.restart(job)
    sweeps.at_work(2)
    sweeps.release()
    code, out = sweeps.ended(sweep)
    assert code == 0 and "failed" not in out and "interrupted" not in out, out
    assert sweeps.saved() == 1 and sweeps.results() == 1


def test_node_down_and_up(sweeps, cluster):
    sweep = sweeps.held(1, "--partition", "one", FAKE_SAVE="0")
    sweeps.at_work(1)
    job, = cluster.states()
    cluster.call("scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=test")
    cluster.wait(lambda: not cluster.at_work_on_nodes(job), "end of the element")  # else its node is drained
    assert sweeps.saved() == 1
    cluster.call("scontrol", "update", "NodeName=n1", "State=RESUME")
    cluster.restart(job)
    sweeps.at_work(2)
    sweeps.release()
    code, out = sweeps.ended(sweep)
    assert code == 0 and "failed" not in out and "interrupted" not in out, out
    assert sweeps.results() == 1


@pytest.mark.parametrize("returns", [True, False])
def test_slurmd_killed(returns, sweeps, cluster):
    """A run outlives its node's daemon. Where SLURM gives the node up, a second element finds it at work, and waits."""
    sweep = sweeps.held(1)
    sweeps.at_work(1)
    job, = cluster.states()
    node = cluster.ask("squeue", "-h", "--format=%N").strip()
    cluster.kill(node)
    if returns:
        cluster.end("slurmctld")  # as well: nobody answers for a while
        sweeps.says(sweep, "note: squeue failed: ")
        cluster.run_daemon("slurmctld", "-D")
        cluster.start_node(node)
    else:
        cluster.restart(job)
        cluster.wait(lambda: not cluster.states(), "end of the second element")
        assert sweep.is_alive() and sweeps.results() == 0
    sweeps.release()
    code, out = sweeps.ended(sweep)
    assert code == 0 and "] failed" not in out and "left out" not in out, out
    assert sweeps.results() == 1 and [len(lines) for lines in sweeps.logs().values()] == [1]


def test_full_disk(sweeps, cluster):
    """Nothing can be noted there, and it is said all the same; with room again the same command completes."""
    disk = sweeps.folder / "output"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=240m", "none", disk], capture_output=True).returncode:
        pytest.skip("this machine mounts no file system in memory")
    try:
        sweep = sweeps.held(1)
        sweeps.at_work(1)
        with open(disk / "full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
            while True:  # a write that finds but some room fills that, and the next one fails
                full.write(bytes(1 << 20))
        sweeps.release()
        code, out = sweeps.ended(sweep)
        assert code == 1 and "failed: CoOp digits 1 shots seed 1" in out and sweeps.results() == 0, out
        code, out = sweeps.call(1)
        assert code == 3 and "0 MiB are free at " in out and "no job was started" in out, out
        (disk / "full").unlink()
        code, out = sweeps.call(1)
        assert code == 0 and sweeps.results() == 1, out
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_with_accounting(sweeps_with_accounting):
    """The same where accounts are kept."""
    sweeps, cluster = sweeps_with_accounting, sweeps_with_accounting.cluster
    code, out = sweeps.call(2, "--jobs", "1", FAKE_FAIL="seed2")
    assert code == 1 and "failed: CoOp digits 1 shots seed 2 (exit code 1)" in out, out
    assert sweeps.results() == 1
    cluster.wait(lambda: "COMPLETED" in cluster.ask("sacct", "-n", "-X", "--format=state"), "accounts")
