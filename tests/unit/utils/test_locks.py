"""One run at a time in an output folder: who holds it is said, what a dead process left is taken over, by one alone."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support.paths import ROOT

from trainers.errors import InputError, OutputDirLocked, SetupError
from trainers.utils import lock


def forked(work):
    """Run ``work`` in a child; returns its process id once the child has sent a byte, or ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(lambda: os.write(write, b"."))
        finally:
            os._exit(0)
    os.close(write)
    os.read(read, 1)
    os.close(read)
    return child


def hold_until_killed(folder):
    def work(tell):
        with lock.held(folder):
            tell()
            time.sleep(60)
    return forked(work)


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def leave_stale(folder):
    kill(hold_until_killed(folder))


def test_second_run_is_told_who_holds_the_folder(tmp_path):
    folder = tmp_path / "out"
    child = hold_until_killed(folder)
    try:
        with pytest.raises(OutputDirLocked) as told, lock.held(folder):
            pass
    finally:
        kill(child)
    message = str(told.value)
    assert f"{folder} is in use by process {child} on {socket.gethostname()} since " in message and "\n" not in message
    assert told.value.exit_code == 3
    assert [p.name for p in folder.iterdir()] == [lock.NAME], "the loser leaves nothing"


def test_stale_lock_is_taken_over_and_given_back(tmp_path):
    leave_stale(tmp_path)
    assert (tmp_path / lock.NAME).exists()
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_dead_process_s_lock_is_removed_and_a_living_one_s_stays(tmp_path):
    lock.release_dead(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
    leave_stale(tmp_path)
    lock.release_dead(tmp_path)
    assert not list(tmp_path.iterdir())
    with lock.held(tmp_path):
        lock.release_dead(tmp_path)
        assert (tmp_path / lock.NAME).exists()


def test_zombie_holds_nothing(tmp_path):
    child = hold_until_killed(tmp_path)
    os.kill(child, signal.SIGKILL)
    for _ in range(100):
        if lock._state_and_start(child)[0] == "Z":
            break
        time.sleep(0.02)
    with lock.held(tmp_path):
        pass
    os.waitpid(child, 0)


def change(folder, **entries):
    """Change what a lock in ``folder`` says; make it where there is none: by this very process."""
    path = folder / lock.NAME
    content = {**(json.loads(path.read_text()) if path.exists() else lock._identity()), **entries}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


@pytest.mark.parametrize("entries", [
    {"start": "1"},  # the number is used again
    {"boot": "before"},  # the machine was started anew
    {"pid": 2 ** 22 + 1},
    {"host": "node7", "job": "slurm 71 0", "restart": "0"},  # put back into the queue, onto another machine
    {"space": "pid:[1]", "job": "slurm 71 0", "restart": "0"},  # … into another container
])
def test_locks_of_the_dead(entries, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "slurm")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    change(tmp_path, **entries)
    with lock.held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_requeued_job_leaves_a_run_alone_that_is_still_at_work(tmp_path, monkeypatch):
    """Where its node's daemon has died SLURM starts a job again, and the processes of before go on."""
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    change(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(OutputDirLocked, match="wait for it"), lock.held(tmp_path):
        pass


@pytest.mark.parametrize("entries, words", [
    ({}, "wait for it"),
    ({"pid": 1, "start": ...}, "is in use by process 1 "),
    ({"host": "node7"}, "should it be gone, delete "),
    ({"machine": "another of this name"}, "should it be gone, delete "),
    ({"space": "pid:[1]"}, "is in use"),  # another container's numbers say nothing
    ({"pid": "one"}, "cannot be read as a lock: delete it"),
    ({"pid": 10 ** 30}, "cannot be read as a lock: delete it"),
    ({"pid": 0}, "cannot be read as a lock: delete it"),
    ({"pid": True}, "cannot be read as a lock: delete it"),
])
def test_locks_that_may_be_of_the_living(entries, words, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    change(tmp_path, **entries)
    before = (tmp_path / lock.NAME).read_text()
    with pytest.raises(OutputDirLocked, match=words), lock.held(tmp_path):
        pass
    assert (tmp_path / lock.NAME).read_text() == before and len(list(tmp_path.iterdir())) == 1


def test_lock_goes_with_an_error_and_so_does_a_folder_made_for_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.held(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()
    with lock.held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "log.txt").touch()
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["log.txt"]


def test_lock_of_another_is_left_alone(tmp_path):
    """Somebody has deleted our lock by hand, and another run has come since."""
    with lock.held(tmp_path):
        change(tmp_path, token="another")
    assert (tmp_path / lock.NAME).exists()


def test_drafts_of_killed_processes_are_swept_up(tmp_path):
    leave_stale(tmp_path)
    (tmp_path / lock.NAME).rename(tmp_path / f".{lock.NAME}.dead")
    change(tmp_path)
    (tmp_path / lock.NAME).rename(tmp_path / f".{lock.NAME}.alive")
    with lock.held(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [f".{lock.NAME}.alive"]


def test_disk_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(lock.errno.EPERM, "no links here")
    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        with lock.held(tmp_path):
            with pytest.raises(OutputDirLocked), lock.held(tmp_path):
                pass
    leave_stale(tmp_path)
    with lock.held(tmp_path):
        pass


def test_folder_that_cannot_be(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file"), lock.held(folder):
            pass

    def full(*_):
        raise OSError(lock.errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="No space left"), lock.held(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


def test_many_takers_of_a_stale_lock_and_one_gets_it(tmp_path):
    """Processes that all come upon the lock of the same dead one; the winner keeps it until all have tried."""
    for _ in range(6):
        leave_stale(tmp_path)
        (gate, start), (keep, leave), (read, write) = os.pipe(), os.pipe(), os.pipe()
        children = []
        for _ in range(6):
            child = os.fork()
            if child == 0:
                try:
                    os.close(start)
                    os.close(leave)
                    os.read(gate, 1)
                    with lock.held(tmp_path):
                        os.write(write, b"1")
                        os.read(keep, 1)
                except OutputDirLocked:
                    os.write(write, b"0")
                finally:
                    os._exit(0)
            children.append(child)
        for end in (gate, start, keep, write):
            os.close(end)
        with open(read, "rb") as told:
            answers = told.read(6)
            os.close(leave)
        for child in children:
            os.waitpid(child, 0)
        assert sorted(answers) == sorted(b"000001")
        assert not list(tmp_path.iterdir())


def test_taker_that_read_a_stale_lock_too_early(tmp_path, monkeypatch):
    """Between its reading of the dead process's lock and its own move another has taken over: it must not take that."""
    leave_stale(tmp_path)
    alive, others = lock._alive, []

    def slow(holder):
        answer = alive(holder)
        if not answer and not others:
            others.append(hold_until_killed_by_other(tmp_path))
        return answer

    def hold_until_killed_by_other(folder):
        monkeypatch.setattr(lock, "_alive", alive)
        return hold_until_killed(folder)

    monkeypatch.setattr(lock, "_alive", slow)
    try:
        with pytest.raises(OutputDirLocked, match="is in use by process"), lock.held(tmp_path):
            pass
    finally:
        kill(others[0])


def test_threads_of_one_process_exclude_each_other(tmp_path):
    got = []

    def work():
        try:
            with lock.held(tmp_path):
                got.append(1)
                deadline = time.monotonic() + 10
                while len(got) < 4 and time.monotonic() < deadline:  # until the others have tried
                    time.sleep(0.01)
        except OutputDirLocked:
            got.append(0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [0, 0, 0, 1]


@pytest.mark.parametrize("what", ["output", "cache", "dataset"])
def test_two_true_runs_together(what, tmp_path):
    """Once each here; benchmarks/together.py does it fifty times."""
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "together.py"), what, "--times",
                           "2" if what == "output" else "1", "--out", ""],
                          capture_output=True, text=True, timeout=600, env={**os.environ, "SCRATCH": str(tmp_path)})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "0 went wrong" in done.stdout
