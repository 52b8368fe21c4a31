"""datasets.prepare against a server on this machine, in fair weather and foul."""
import dataclasses
import errno
import hashlib
import http.server
import json
import multiprocessing
import os
import shutil
import signal
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import miniature
from support.archives import pack

import datasets
from datasets import download, prepare, unpack
from datasets.download import Dead, Source, fetch
from datasets.food101 import Food101
from datasets.home import InputError

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl

PUBLISHED = {"train": 15, "val": 6, "test": 9, "classes": 3}  # of the miniature Food101


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` (name -> bytes), continues downloads, and misbehaves as told.

    ``drops`` is a list of byte counts: each request takes one and is cut off after so many bytes (None: not cut).
    Without ``lengths`` it does not say how many bytes there are.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.drops, self.log, self.pause, self.ranges, self.lengths = {}, [], [], 0, True, True
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_):  # a client that was killed is no news
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server, name = self.server, self.path.rpartition("/")[2]
        asked = self.headers.get("Range")
        if body:
            server.log.append((name, asked))
        if name not in server.files:
            self.send_error(404)
            return
        content = server.files[name]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        start = 0
        if asked and server.ranges and self.headers.get("If-Range", tag) == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.send_header("ETag", tag)
        self.send_header("X-Repo-Commit", "0" * 40)  # for the model hub's client
        self.end_headers()
        if body:
            drop = server.drops.pop(0) if server.drops else None
            for at in range(start, len(content) if drop is None else min(start + drop, len(content)), 4096):
                part = content[at:min(at + 4096, len(content) if drop is None else start + drop)]
                self.wfile.write(part if server.lengths else b"%x\r\n%s\r\n" % (len(part), part))
                time.sleep(server.pause)
            if drop is None and not server.lengths:
                self.wfile.write(b"0\r\n\r\n")
            if drop is not None:
                self.wfile.flush()
                self.connection.shutdown(2)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tree_entries(folder, prefix="", under=""):
    """Return pack's entries of the files below ``folder/under``, named from ``prefix``."""
    base = Path(folder) / under
    if base.is_file():
        return [(prefix, base)]
    return [(f"{prefix}/{path.relative_to(base).as_posix()}".strip("/"), path)
            for path in sorted(base.rglob("*")) if path.is_file() and path.name != ".hidden"]


@pytest.fixture
def tiny(server, tmp_path, monkeypatch):
    """Food101 in miniature, as an archive and a split file on the server; ``tiny.run()`` is the command line."""
    source = tmp_path / "source"
    miniature.build("Food101", source)
    split = datasets.CLASSES["Food101"].whole(str(source))[1]
    rows = {name: [[item.path.partition("/")[2], *item[1:]] for item in items]
            for name, items in split._asdict().items()}
    noise = os.urandom(60000)  # does not compress, so the archive is of some size
    images = pack("tar.gz", tree_entries(source, "food-101/images", "food-101/images") + [("food-101/noise", noise)])
    server.files.update({"images.tar.gz": images, "split.json": json.dumps(rows).encode()})
    root = tmp_path / "DATA"

    class Tiny(Food101):
        split_file = "split.json"
        published = PUBLISHED
        copy = None
        sources = (Source("images.tar.gz", [f"{server.url}/images.tar.gz"], gives=["images"],
                          checksum=f"md5:{hashlib.md5(images).hexdigest()}"),
                   Source("split.json", [f"{server.url}/split.json"]))

    monkeypatch.setitem(datasets.CLASSES, "Tiny", Tiny)
    store = root / ".promptreg" / "downloads" / "food-101"
    return SimpleNamespace(
        cls=Tiny, root=root, folder=root / "food-101", store=store, archive=images, source=source,
        run=lambda *flags: prepare.main(["Tiny", "--root", str(root), *flags]),
        gets=lambda name="images.tar.gz": [asked for file, asked in server.log if file == name])


def assert_whole(tiny):
    assert {path.name for path in tiny.folder.iterdir()} == {"images", "split.json"}
    assert tree_entries(tiny.folder / "images") != []
    for name, path in tree_entries(tiny.source / "food-101" / "images"):
        assert (tiny.folder / "images" / name).read_bytes() == path.read_bytes()
    assert not any(tiny.store.iterdir())


def assert_untouched(tiny):
    """Nothing of the images is in the dataset's folder, whole or half."""
    assert not tiny.folder.exists() or {path.name for path in tiny.folder.iterdir()} <= {"split.json"}


def error_line(capsys):
    """Return what went to standard error, without progress bars."""
    lines = [line.rpartition("\r")[2] for line in capsys.readouterr().err.splitlines()]
    lines = [line for line in lines if line and "it/s" not in line and "%|" not in line and "B/s" not in line
             and " images/s" not in line and " files/s" not in line]
    assert not any("Traceback" in line for line in lines)
    return "\n".join(lines)


def test_whole(tiny, capsys):
    assert tiny.run() == 0
    assert_whole(tiny)
    assert "train 15 of 15, val 6 of 6, test 9 of 9, classes 3 of 3" in capsys.readouterr().out
    manifest = json.loads((tiny.root / ".promptreg" / "manifest.json").read_text())
    entry = manifest["food-101/images.tar.gz"]
    assert entry["sha256"] == hashlib.sha256(tiny.archive).hexdigest() and entry["bytes"] == len(tiny.archive)
    assert entry["from"].startswith("http://127.0.0.1") and set(manifest) == {"food-101/images.tar.gz",
                                                                            "food-101/split.json"}
    assert tiny.run() == 0
    assert len(tiny.gets()) == 1  # what is there is not fetched again


def test_dry_run_does_nothing(tiny, server, capsys):
    assert tiny.run("--dry-run") == 0
    out = capsys.readouterr().out
    assert f"{server.url}/images.tar.gz" in out and f"{server.url}/split.json" in out
    assert not tiny.root.exists() and not server.log
    tiny.run()
    capsys.readouterr()
    tiny.run("--dry-run")
    assert "nothing to do" in capsys.readouterr().out


def test_a_broken_line_is_continued_at_once(tiny, server):
    server.drops = [None, 10000, 20000]  # the split file is whole, the archive comes in three parts
    assert tiny.run() == 0
    assert tiny.gets() == [None, "bytes=10000-", "bytes=30000-"]
    assert_whole(tiny)


def test_a_broken_line_without_a_length_is_continued_too(tiny, server, monkeypatch):
    monkeypatch.setattr(Handler, "protocol_version", "HTTP/1.1")
    server.lengths = False
    server.drops = [5, 4096]
    assert tiny.run() == 0
    assert len(tiny.gets()) >= 1 and not server.drops
    assert_whole(tiny)


def test_a_line_that_keeps_breaking_is_continued_by_the_next_call(tiny, server, capsys):
    server.drops = [None, 10000, 0, 5000]
    assert tiny.run() == 3
    message = error_line(capsys)
    assert "images.tar.gz: broke off 3 times, 0.0 MB are here" in message and "run the same command again" in message
    assert_untouched(tiny)
    assert (tiny.store / "images.tar.gz.part").stat().st_size == 15000
    assert tiny.run() == 0
    assert tiny.gets()[-1] == "bytes=15000-"
    assert_whole(tiny)


def test_a_killed_download_is_continued(tiny, server, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 4096)
    server.pause = 0.02
    context = multiprocessing.get_context("fork")
    process = context.Process(target=tiny.run)
    process.start()
    part = tiny.store / "images.tar.gz.part"
    deadline = time.time() + 30
    while not (part.exists() and part.stat().st_size > 20000) and time.time() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert part.stat().st_size > 20000
    assert_untouched(tiny)
    server.pause = 0
    assert tiny.run() == 0
    assert tiny.gets()[-1].startswith("bytes=")
    assert_whole(tiny)


def test_control_c_leaves_a_download_to_be_continued(tiny, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.tqdm, "update", stop)
    assert tiny.run() == 130
    assert "run the same command again" in capsys.readouterr().err
    monkeypatch.undo()
    assert list(tiny.store.iterdir())


def test_a_file_that_changed_is_fetched_afresh(tiny, server, monkeypatch):
    server.drops = [None, 10000, 0, 0]
    assert tiny.run() == 3
    changed = pack("tar.gz", tree_entries(tiny.source, "food-101/images", "food-101/images")
                   + [("food-101/noise", os.urandom(70000))])
    server.files["images.tar.gz"] = changed
    images, split = tiny.cls.sources
    tiny.cls.sources = (dataclasses.replace(images, checksum=f"sha256:{hashlib.sha256(changed).hexdigest()}"), split)
    assert tiny.run() == 0
    assert tiny.gets()[-1] == "bytes=10000-"  # asked to continue, and was sent the new file whole
    assert_whole(tiny)


def test_a_server_that_cannot_continue_sends_all_again(tiny, server):
    server.ranges = False
    server.drops = [None, 10000]
    assert tiny.run() == 0
    assert_whole(tiny)


def test_a_download_whole_but_for_its_name(tiny):
    """Killed between the last byte and the renaming: the server has nothing more to send."""
    tiny.run()
    url = tiny.cls.sources[0].urls[0]
    shutil.rmtree(tiny.folder / "images")
    (tiny.store / "images.tar.gz.part").write_bytes(tiny.archive)
    (tiny.store / "images.tar.gz.part.from").write_text(f'{url}\n"{hashlib.sha256(tiny.archive).hexdigest()}"')
    assert tiny.run() == 0
    assert_whole(tiny)


def test_a_part_of_another_address_is_not_continued(tiny, server):
    server.files["other.tar.gz"] = b"x" * 50000
    tiny.store.mkdir(parents=True)
    (tiny.store / "images.tar.gz.part").write_bytes(b"x" * 10000)
    (tiny.store / "images.tar.gz.part.from").write_text(f"{server.url}/other.tar.gz\n")
    assert tiny.run() == 0
    assert tiny.gets() == [None]


def test_a_wrong_checksum(tiny, server, capsys):
    right = server.files["images.tar.gz"]
    server.files["images.tar.gz"] = right[:-1] + b"x"
    assert tiny.run() == 2
    message = error_line(capsys)
    assert "food-101/images.tar.gz" in message and "published md5" in message
    assert hashlib.md5(right).hexdigest() in message and "was deleted" in message
    assert_untouched(tiny)
    assert not any(tiny.store.iterdir())
    server.files["images.tar.gz"] = right
    assert tiny.run() == 0
    assert_whole(tiny)


def test_a_checksum_unlike_the_recorded_one(tiny, server, capsys):
    tiny.run()
    (tiny.folder / "split.json").unlink()
    server.files["split.json"] += b"\n"
    assert tiny.run() == 2
    message = error_line(capsys)
    assert "food-101/split.json" in message and "manifest.json" in message
    assert not (tiny.folder / "split.json").exists()


def replace_archive(tiny, server, content, name="images.tar.gz"):
    server.files[name] = content
    tiny.cls.sources = (Source(name, [f"{server.url}/{name}"], gives=["images"]), tiny.cls.sources[1])


@pytest.mark.parametrize("kind, cut", [("tar.gz", "half"), ("tar.gz", "end"), ("tar", "half"), ("tar", "entries"),
                                       ("zip", "half"), ("zip", "end")])
def test_a_truncated_archive(tiny, server, capsys, kind, cut):
    """As the server has it: the size is right, the content ends too early."""
    entries = tree_entries(tiny.source, "food-101/images", "food-101/images")
    whole, name = pack(kind, entries), f"images.{kind}"
    entry = 512 + -(-len(miniature.PICTURE) // 512) * 512  # of a tar: a header and an image, in blocks
    at = {"half": len(whole) // 2, "end": len(whole) - 20, "entries": 7 * entry}[cut]
    replace_archive(tiny, server, whole[:at], name)
    assert tiny.run() == 2
    message = error_line(capsys)
    assert f"{name}: a damaged or truncated archive" in message
    assert_untouched(tiny)
    assert not any(tiny.store.iterdir())
    server.files[name] = whole
    assert tiny.run() == 0
    assert_whole(tiny)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_a_wicked_archive(tiny, server, capsys, tmp_path, name):
    """One of each kind, by the command line; all their tricks are in test_malicious."""
    content = pack(name.partition(".")[2], [("images/a/1.jpg", b""), ("../evil", b"x")])
    replace_archive(tiny, server, content, name)
    assert tiny.run() == 2
    assert f"{name}: its entry '../evil' leads out of the folder" in error_line(capsys)
    assert_untouched(tiny)
    assert not any(tiny.store.iterdir()) and not list(tmp_path.rglob("evil"))


def test_an_archive_of_something_else(tiny, server, capsys):
    replace_archive(tiny, server, pack("zip", [("pictures/a/1.jpg", b"")]), "images.zip")
    assert tiny.run() == 2
    assert "images.zip: holds no images" in error_line(capsys)
    assert_untouched(tiny)


class Filling:
    """A file on a disk that takes ``room`` more bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        taken = self.room[0] if len(data) > self.room[0] else len(data)
        self.file.write(data[:taken])
        self.room[0] -= taken
        if taken < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return taken

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def fill_disk(monkeypatch, where, room):
    left = [room]

    def opened(path, mode="r", **kwargs):
        file = open(path, mode, **kwargs)
        return Filling(file, left) if where in str(path) and mode in ("ab", "wb") else file

    monkeypatch.setattr(download, "open", opened, raising=False)
    monkeypatch.setattr(tarfile, "bltn_open", opened)  # as which tarfile opens what it extracts


def test_a_disk_that_fills_while_downloading(tiny, monkeypatch, capsys):
    monkeypatch.setattr(download, "CHUNK", 4096)
    with monkeypatch.context() as patch:
        fill_disk(patch, "images.tar.gz.part", 20000)
        assert tiny.run() == 3
    message = error_line(capsys)
    assert "images.tar.gz.part: the disk is full" in message and "it continues" in message
    assert_untouched(tiny)
    assert (tiny.store / "images.tar.gz.part").stat().st_size == 20000
    assert tiny.run() == 0
    assert tiny.gets()[-1] == "bytes=20000-"
    assert_whole(tiny)


def test_a_disk_that_fills_while_unpacking(tiny, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        fill_disk(patch, ".unpack-", 3000)
        assert tiny.run() == 3
    assert "the disk is full" in error_line(capsys)
    assert_untouched(tiny)
    assert (tiny.store / "images.tar.gz").exists()
    assert tiny.run() == 0
    assert len(tiny.gets()) == 1  # not fetched again
    assert_whole(tiny)


def test_a_disk_too_small_from_the_start(tiny, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
        assert tiny.run() == 3
    assert "GB more are needed" in error_line(capsys)
    assert_untouched(tiny)
    assert tiny.run() == 0


def test_a_dead_link_and_the_file_by_hand(tiny, server, capsys):
    images = server.files.pop("images.tar.gz")
    assert tiny.run() == 2
    message = error_line(capsys)
    assert "still missing" in message and f"{server.url}/images.tar.gz (HTTP 404)" in message
    assert f"put it into {tiny.store}" in message
    assert (tiny.folder / "split.json").exists()
    (tiny.store / "images.tar.gz").write_bytes(images)
    assert tiny.run() == 0
    assert_whole(tiny)


def test_a_split_file_that_is_not_to_be_had(tiny, server, capsys):
    server.files.pop("split.json")
    assert tiny.run() == 2
    assert "still missing" in error_line(capsys) and (tiny.folder / "images").exists()


def test_the_published_split_ends_what_came_of_another(tiny, server, capsys):
    split = server.files.pop("split.json")
    tiny.run()
    cfg = get_cfg_default()
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = str(tiny.root), 2, 1
    tiny.cls(cfg)  # splits and draws for itself
    caches = tiny.folder / "split_fewshot"
    (caches / "shot_1-seed_1.pkl").write_bytes(b"not ours")
    assert (tiny.folder / "split_promptreg_Tiny.json").exists() and (caches / "shot_2-seed_1.json").exists()
    server.files["split.json"] = split
    assert tiny.run() == 0
    assert {path.name for path in tiny.folder.iterdir()} == {"images", "split.json", "split_fewshot"}
    assert [path.name for path in caches.iterdir()] == ["shot_1-seed_1.pkl"]
    assert "are deleted" in capsys.readouterr().out
    assert {item.label for item in tiny.cls(cfg).train_x} == {0, 1, 2}


def test_no_server_at_all(tiny, server, capsys):
    tiny.cls.sources = tuple(dataclasses.replace(source, urls=[f"http://127.0.0.1:9/{source.file}"])
                             for source in tiny.cls.sources)
    assert tiny.run() == 2
    assert "refused" in error_line(capsys)


def test_the_copy_takes_over_from_dead_links(tiny, server):
    server.files.pop("images.tar.gz")
    server.files["food101.zip"] = pack("zip", tree_entries(tiny.source, "food-101", "food-101") + [
        ("__MACOSX/food-101/images/._1.jpg", b"")])
    tiny.cls.copy = Source("food101.zip", [f"{server.url}/food101.zip"], ["images"], ("split.json",))
    assert tiny.run() == 0
    assert_whole(tiny)


def test_two_at_once_fetch_once(tiny, server):
    server.pause = 0.005
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=lambda: os._exit(tiny.run())) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(tiny.gets()) == 1
    assert_whole(tiny)


def test_check_counts_and_names_bad_images(tiny, capsys):
    tiny.run()
    assert tiny.run("--check") == 0
    capsys.readouterr()
    lost, cut, empty = (tiny.folder / "images" / "apple_pie" / f"00{n}.jpg" for n in range(3))
    lost.unlink()
    cut.write_bytes(miniature.PICTURE[:-100])
    empty.write_bytes(b"")
    assert tiny.run("--check") == 2
    message = error_line(capsys)
    assert f"{lost}: missing" in message and f"{cut}: unreadable" in message and f"{empty}: unreadable" in message
    assert "delete what is damaged" in message
    assert tiny.run("--check", "--quick") == 2
    message = error_line(capsys)
    assert f"{lost}: missing" in message and str(cut) not in message


def test_check_compares_with_the_published_counts(tiny, capsys):
    tiny.run()
    rows = json.loads((tiny.folder / "split.json").read_text())
    rows["val"].pop()
    (tiny.folder / "split.json").write_text(json.dumps(rows))
    assert tiny.run("--check") == 2
    assert "val: 5 instead of the published 6" in error_line(capsys)


def test_check_without_the_data(tiny, capsys):
    assert tiny.run("--check") == 2
    message = error_line(capsys)
    assert str(tiny.folder) in message and "promptreg data fetch Tiny" in message
    assert not tiny.root.exists()


def test_names(capsys, tmp_path):
    assert prepare.main(["oxford_pets", "DTD", "food-101", "--dry-run", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "OxfordPets in" in out and "DescribableTextures in" in out and "Food101 in" in out
    assert prepare.main(["all", "--dry-run", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} in" in out for name in miniature.BUILDERS) and "image-net.org" in out
    assert prepare.main(["Pets", "--root", str(tmp_path)]) == 2
    assert "did you mean OxfordPets?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- every dataset from archives as they are published

WITHIN = {  # for each download: {place in the dataset's folder: path in the archive}
    "101_ObjectCategories.zip": {"101_ObjectCategories": "101_ObjectCategories"},  # within a further archive
    "images.tar.gz": {"images": "images"},
    "annotations.tar.gz": {"annotations": "annotations"},
    "cars_train.tgz": {"cars_train": "cars_train"},
    "cars_test.tgz": {"cars_test": "cars_test"},
    "car_devkit.tgz": {"devkit": "devkit"},
    "102flowers.tgz": {"jpg": "jpg"},
    "food-101.tar.gz": {"images": "food-101/images", "meta": "food-101/meta"},
    "fgvc-aircraft-2013b.tar.gz": {"": "fgvc-aircraft-2013b/data"},
    "SUN397.tar.gz": {"SUN397": "SUN397"},
    "Partitions.zip": {name: name for name in ("ClassName.txt", "Training_01.txt", "Testing_01.txt")},
    "dtd-r1.0.1.tar.gz": {"images": "dtd/images", "labels": "dtd/labels", "imdb": "dtd/imdb"},
    "EuroSAT.zip": {"2750": "2750"},
    "UCF-101-midframes.zip": {"UCF-101-midframes": "UCF-101-midframes"},
    "UCF101TrainTestSplits-RecognitionTask.zip": {"ucfTrainTestlist": "ucfTrainTestlist"},
    "imagenetv2-matched-frequency.tar.gz": {
        "imagenetv2-matched-frequency-format-val": "imagenetv2-matched-frequency-format-val"},
    "ImageNet-Sketch.zip": {"images": "sketch"},
    "imagenet-a.tar": {"imagenet-a": "imagenet-a"},
    "imagenet-r.tar": {"imagenet-r": "imagenet-r"},
}


def published_files(cls, folder):
    """Return ``{download: bytes}`` for the miniature in ``folder``, packed as the published archives are."""
    files = {}
    for name in ("meta", "imdb", "labels"):
        if any(name in source.places() for source in cls.sources):
            (folder / name).mkdir()
            (folder / name / "something.txt").write_text("")
    for source in cls.sources:
        if source.file not in WITHIN:  # a file by itself
            files[source.file] = (folder / source.file).read_bytes()
            continue
        kind = {"tgz": "tar.gz", "gz": "tar.gz", "tar": "tar", "zip": "zip"}[source.file.rpartition(".")[2]]
        entries = [entry for place, inside in WITHIN[source.file].items()
                   for entry in tree_entries(folder, inside, place)]
        if source.inner:
            entries = [(f"caltech-101/{source.inner}", pack("tar.gz", entries))]
        files[source.file] = pack(kind, entries)
    return files


FETCHED = [name for name in miniature.BUILDERS if name != "ImageNet"]


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """Put a miniature of a dataset on the server; returns its class without checksums and with its own counts."""
    def put(name):
        cls = datasets.CLASSES[name]
        folder = tmp_path / "source" / cls.folder
        miniature.build(name, tmp_path / "source")
        splits = cls.whole(str(tmp_path / "source"))[1]
        if cls.split_file:
            (folder / cls.own_split_file()).rename(folder / cls.split_file)
        counts = {split: len(items) for split, items in splits._asdict().items()} | {
            "classes": len({item.label for item in splits.train})}
        monkeypatch.setattr(cls, "sources", tuple(dataclasses.replace(s, checksum="") for s in cls.sources))
        monkeypatch.setattr(cls, "copy", dataclasses.replace(cls.copy, checksum=""))
        monkeypatch.setattr(cls, "published", {key: counts[key] for key in cls.published})
        return cls, folder, splits
    return put


@pytest.mark.parametrize("name", FETCHED)
def test_published_archives_end_in_the_published_layout(server, published, tmp_path, name, capsys):
    cls, folder, splits = published(name)
    server.files.update(published_files(cls, folder))
    root = tmp_path / "DATA"
    assert prepare.main([name, "--root", str(root), "--mirror", server.url]) == 0, capsys.readouterr().err
    assert cls.whole(str(root))[1] == splits
    if cls.split_file and cls.annotations:  # also without the split file, from the annotations
        lists = [source for source in cls.sources if source.covers(cls.annotations)]
        fetched = {file for file, _ in server.log}
        assert not [source.file for source in lists if source.file in fetched and not source.covers(cls.needs)]
        if lists:
            shutil.rmtree(root)
            server.files.pop(cls.split_file)
            assert prepare.main([name, "--root", str(root), "--mirror", server.url]) == 2
            assert set(prepare.wanted(cls, str(root))) == {cls.split_file}
            everything = cls.whole(str(root))[1]
            assert sorted(sum(everything, [])) == sorted(sum(splits, []))


@pytest.mark.parametrize("name", FETCHED)
def test_the_copys_archives_end_in_the_published_layout(server, published, tmp_path, name, capsys):
    cls, folder, splits = published(name)
    server.files[cls.copy.file] = pack("zip", tree_entries(folder, cls.folder))
    if "classnames.txt" in cls.needs:
        server.files["classnames.txt"] = (folder / "classnames.txt").read_bytes()
    root = tmp_path / "DATA"
    assert prepare.main([name, "--root", str(root), "--mirror", server.url]) == 0, capsys.readouterr().err
    assert cls.whole(str(root))[1] == splits


@pytest.fixture(autouse=True)
def no_internet(monkeypatch):
    """Google Drive and the model hub are not there, unless a test puts them there."""
    def gone(*_, **__):
        raise OSError("no such place")

    monkeypatch.setattr("gdown.download", gone)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", gone)
    real = download._http_attempt

    def local(url, part):
        if not url.startswith("http://127.0.0.1"):
            raise Dead("no such place")
        return real(url, part)

    monkeypatch.setattr(download, "_http_attempt", local)


def test_imagenet_is_fetched_by_hand(tmp_path, server, capsys):
    server.files["classnames.txt"] = b"n01440764 tench\n"
    assert prepare.main(["ImageNet", "--root", str(tmp_path), "--mirror", server.url]) == 2
    message = error_line(capsys)
    assert "images/train, images/val" in message and "https://image-net.org" in message
    assert (tmp_path / "imagenet" / "classnames.txt").read_text() == "n01440764 tench\n"
    # the variants take the class names from there
    prepare.main(["ImageNetR", "--root", str(tmp_path)])
    assert (tmp_path / "imagenet-rendition" / "classnames.txt").read_text() == "n01440764 tench\n"


def test_google_drive_goes_through_gdown(tmp_path, monkeypatch):
    calls = []

    def fake(id, output, resume):
        calls.append((id, resume))
        Path(output).write_text("from the drive")

    monkeypatch.setattr("gdown.download", fake)
    path, origin = fetch(Source("split.json", ["drive:ABC"]), str(tmp_path))
    assert Path(path).read_text() == "from the drive" and calls == [("ABC", True)]
    assert origin == "https://drive.google.com/file/d/ABC"

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gdown.download", full)
    with pytest.raises(Exception, match="disk is full"):
        fetch(Source("other.json", ["drive:ABC"]), str(tmp_path))
    monkeypatch.setattr("gdown.download", lambda **_: None)
    with pytest.raises(Dead, match="drive/ABC|d/ABC .*nothing"):
        fetch(Source("other.json", ["drive:ABC"]), str(tmp_path))


def test_the_model_hub_goes_through_its_client(tmp_path, server, monkeypatch, no_internet):
    monkeypatch.undo()  # the real client, sent to the server of this test
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        server.url + "/{repo_id}/resolve/{revision}/{filename}")
    server.files["food101.zip"] = b"x" * 1000
    path, origin = fetch(Source("food101.zip", ["hub:someone/somewhere@abc"]), str(tmp_path))
    assert Path(path).read_bytes() == b"x" * 1000
    assert origin == "https://huggingface.co/someone/somewhere/blob/abc/food101.zip"
    with pytest.raises(Dead):
        fetch(Source("other.zip", ["hub:someone/somewhere@abc"]), str(tmp_path))


@pytest.mark.parametrize("content, words", [
    ("{", "not valid JSON"), ("[]", "entries of files"), ('{"food-101/split.json": []}', "entries of files")])
def test_a_damaged_manifest_is_named(content, words, tiny, capsys):
    (tiny.root / ".promptreg").mkdir(parents=True)
    (tiny.root / ".promptreg" / "manifest.json").write_text(content)
    assert tiny.run() == 2
    error = error_line(capsys)
    assert f"manifest.json: {words}" in error and "delete it, it is written anew" in error


def test_digits_are_prepared_without_a_network(tmp_path, capsys):
    assert prepare.main(["Digits", "--root", str(tmp_path)]) == 0
    assert "train 898 of 898" in capsys.readouterr().out


def test_an_empty_root_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert prepare.main(["digits", "--root", ""]) == 2
    assert capsys.readouterr().err == "error: --root is empty: say where the data are to lie, with --root DATA\n"
    monkeypatch.setenv("DATA", "")  # as the scripts take it: not set
    assert prepare.main(["dtd", "--dry-run"]) == 0
    assert f" {tmp_path}/data/" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_finding_takes_the_least_deep(tmp_path):
    for path in ("a/b/images", "z/images", "__MACOSX/images"):
        (tmp_path / path).mkdir(parents=True)
    assert unpack.find(str(tmp_path), "images") == str(tmp_path / "z" / "images")
    assert unpack.find(str(tmp_path), "absent") is None


def test_moving_between_file_systems(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    rename, calls = os.rename, []

    def across(source, target):
        calls.append(target)
        if len(calls) < 3 and not str(source).endswith(".incoming"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", across)
    unpack._move(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b" / "file").read_text() == "x" and not (tmp_path / "a").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"b"}


def test_covers():
    source = Source("devkit.tgz", [], gives=["devkit"])
    assert source.covers(["devkit/cars_meta.mat"]) and source.covers(["devkit"]) and not source.covers(["devkit2"])
    with pytest.raises(InputError):
        prepare.find_classes(["nothing like it"])
