"""A file is whole or not there, whoever is killed when; leftovers of the killed go, what is being written stays."""
import multiprocessing
import os
import signal
import time

import pytest
from support.paths import ROOT  # noqa: F401  puts trainers/ on the path

from trainers.utils import atomic


def test_the_old_content_stays_where_a_write_fails(tmp_path):
    path = tmp_path / "new" / "file"
    assert atomic.write_file(path, "old")
    with pytest.raises(KeyError), atomic.atomic_open(path) as file:
        file.write(b"half")
        assert path.read_text() == "old" and len(list(path.parent.iterdir())) == 2
        raise KeyError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_an_error_names_the_file_and_the_mode_is_the_users(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as error:
        atomic.write_file(tmp_path / "folder", b"x")
    assert str(tmp_path / "folder") in (error.value.filename, error.value.filename2)
    before = os.umask(0o027)
    try:
        atomic.write_file(tmp_path / "mine", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_the_first_of_two_stands_where_asked_for(tmp_path, monkeypatch, links):
    if not links:
        def refuse(*_):
            raise PermissionError
        monkeypatch.setattr(os, "link", refuse)
    assert atomic.write_file(tmp_path / "a", "first", once=True)
    assert atomic.write_file(tmp_path / "a", "second", once=True) is not links  # the best that such a disk can do
    assert (tmp_path / "a").read_text() == ("first" if links else "second")
    assert atomic.write_file(tmp_path / "a", "third") and (tmp_path / "a").read_text() == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def _half(path, written):
    with atomic.atomic_open(path) as file:
        file.write(b"half")
        file.flush()
        written.set()
        time.sleep(60)


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = []
    for name in ("killed", "busy"):
        written = context.Event()
        writers.append(context.Process(target=_half, args=(tmp_path / name, written)))
        writers[-1].start()
        assert written.wait(20)
    killed, busy = writers
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert len(list(tmp_path.glob(".*.part"))) == 2
    atomic.write_file(tmp_path / "another", "x")
    (left,) = tmp_path.glob(".*.part")
    assert left.name.startswith(".busy.")
    os.kill(busy.pid, signal.SIGKILL)
    busy.join()
    atomic.tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["another"]
