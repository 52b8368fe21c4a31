"""Image-text pairs as they lie on disk: a TSV, a folder with .txt captions, or webdataset tar shards.

Enumerating is cheap and opens no image: a pair names where its image's and caption's bytes are, and is read when it is
needed, at random. What is wrong with a pair is an answer (``Bad``), not an error.
"""
import hashlib
import io
import itertools
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from ..errors import InputError
from ..utils.images import opened, rgb
from ..utils.untrusted import read_untrusted

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
HEADERS = {b"path", b"filepath", b"file", b"image", b"image_path"}  # first field of a TSV's heading
MOST_BYTES = 100_000_000  # of one image or caption


class Bad(Exception):
    """Why a pair cannot be used."""


@dataclass
class Pair:
    """One pair, not yet read.

    Attributes:
        where: for people: file or shard member, TSV line.
        image: place of the image's bytes: a path below the corpus's root, or [tar, offset, size].
        caption: the caption's bytes, or their place.
        fault: what is known to be wrong already, or None.
    """

    where: str
    image: Any = None
    caption: Any = None
    fault: str | None = None

    def text(self, root: Path) -> str:
        """Return the caption; raises Bad."""
        if self.fault:
            raise Bad(self.fault)
        raw = self.caption if isinstance(self.caption, bytes) else fetch(root, self.caption)
        try:
            text = " ".join(raw.decode("utf-8").split())
        except UnicodeDecodeError:
            raise Bad("the caption is not UTF-8") from None
        if not text:
            raise Bad("the caption is empty")
        return text


def fetch(root: str | Path, place: Any) -> bytes:
    """Return the bytes at a place; raises Bad. The place may be any: a device that never ends, a size that none has."""
    try:
        name, offset, size = (place, 0, None) if isinstance(place, str) else place
        path = Path(root) / name
        about = os.stat(path)
        size = about.st_size if size is None else size
        if not stat.S_ISREG(about.st_mode):
            raise Bad("it is no regular file")
        if not 0 <= offset <= offset + size <= about.st_size:
            raise Bad("the file ends before it")
        if size > MOST_BYTES:
            raise Bad(f"it has more than {MOST_BYTES // 10 ** 6} MB")
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        raise Bad("the file is missing") from None
    except (OSError, ValueError, TypeError) as error:
        raise Bad(f"the file cannot be read ({getattr(error, 'strerror', None) or error})") from None


def picture(root: str | Path, place: Any) -> Image:
    """Return the RGB image at a place; raises Bad."""
    raw = fetch(root, place)
    try:
        return read_untrusted(str(place), lambda _: _decode(raw), lambda reason: reason)
    except InputError as error:
        raise Bad(f"the image is broken ({str(error)[:80]})") from None


def _decode(raw: bytes) -> Image:
    with opened(io.BytesIO(raw)) as image:
        return rgb(image)


class Corpus:
    """Pairs of one source, in an order that never changes.

    Args:
        path: a .tsv of "image path <tab> caption" (paths relative to it), a .tar, a folder of .tar shards
            (key.jpg, key.txt, as img2dataset writes them), or a folder of images beside .txt files of the same name.

    Attributes:
        name: for folders and reports.
        root: what places are relative to.

    Raises:
        InputError: nothing there, or nothing of these kinds.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.path, self.name = path, path.stem
        if path.is_file():
            self.root, self.files = path.parent, [path]
            read = {".tsv": self._tsv, ".tar": self._tars}.get(path.suffix)
        elif path.is_dir():
            self.root, self.files = path, sorted(path.glob("*.tar"))
            read = self._tars if self.files else self._folder
        else:
            raise InputError(f"there is no corpus {path}: give demo, a .tsv of path and caption, a folder of images "
                             "with .txt captions, or webdataset .tar shards")
        if read is None:
            raise InputError(f"{path} is no corpus: a .tsv of path and caption, a folder of images with .txt captions, "
                             "or webdataset .tar shards would be")
        self._read = read

    def __iter__(self) -> Iterator[Pair]:
        return self._read()

    def blocks(self, size: int) -> Iterator[tuple[int, list[Pair]]]:
        """Yield (number, list of ``size`` pairs, the last one shorter)."""
        pairs = iter(self)
        for number in itertools.count():
            block = list(itertools.islice(pairs, size))
            if not block:
                return
            yield number, block

    def fingerprint(self, times: bool = True) -> str:
        """Return a hash of the names, sizes and times of the TSV, the shards, or a folder's images and captions.

        Args:
            times: a copy elsewhere may have other times, and is the same without.
        """
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files or sorted(p for p in self.path.rglob("*") if p.is_file()):
            about = file.stat()
            entry = f"{file.relative_to(self.root)}\0{about.st_size}\0{about.st_mtime_ns if times else ''}\n"
            digest.update(entry.encode("utf-8", "replace"))
        return digest.hexdigest()

    def _tsv(self) -> Iterator[Pair]:
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                fields = line.rstrip(b"\r\n").split(b"\t")
                if not line.strip() or number == 1 and fields[0].lower() in HEADERS:
                    continue
                where = f"{self.path.name} line {number}"
                try:
                    image = fields[0].decode("utf-8")
                except UnicodeDecodeError:
                    yield Pair(where, fault="the path is not UTF-8")
                    continue
                if len(fields) < 2 or not image:
                    yield Pair(where, fault="not a path, a tab and a caption")
                else:
                    yield Pair(f"{where}, {image}", image, fields[1])

    def _folder(self) -> Iterator[Pair]:
        for folder, below, names in os.walk(self.path):
            below.sort()
            there = {}
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                kind = "image" if suffix.lower() in IMAGES else "caption" if suffix == ".txt" else None
                if kind:
                    place = os.path.relpath(os.path.join(folder, name), self.path)
                    there.setdefault(stem, {}).setdefault(kind, place)
            for found in there.values():
                yield self._pair(found.get("image") or found["caption"], found)

    def _tars(self) -> Iterator[Pair]:
        for file in self.files:
            shard, key, found = str(file.relative_to(self.root)), ("", ""), {}
            try:
                with tarfile.open(file, "r:") as tar:
                    for member in tar:
                        if member.size < 0:  # it would send the reader back, round and round
                            raise tarfile.ReadError("a size below 0")
                        if not member.isfile():
                            continue
                        above, _, base = member.name.rpartition("/")
                        stem, _, suffix = base.partition(".")
                        if (above, stem) != key:
                            if found:
                                yield self._pair(f"{shard}:{key[1]}", found)
                            key, found = (above, stem), {}
                        kind = "image" if f".{suffix.lower()}" in IMAGES else "caption" if suffix == "txt" else None
                        if kind:
                            found[kind] = [shard, member.offset_data, member.size]
                if found:
                    yield self._pair(f"{shard}:{key[1]}", found)
            except (tarfile.TarError, EOFError, OSError, ValueError, MemoryError, RecursionError) as error:
                if found:
                    yield self._pair(f"{shard}:{key[1]}", found)
                reason = str(error) or type(error).__name__
                yield Pair(shard, fault=f"the shard is damaged ({reason}); its pairs from there on are lost")

    @staticmethod
    def _pair(where: str, found: Mapping[str, Any]) -> Pair:
        missing = [kind for kind in ("image", "caption") if kind not in found]
        return Pair(where, found.get("image"), found.get("caption"), f"there is no {missing[0]}" if missing else None)


def dump(caption: str, image: Any) -> bytes:
    """Return a pair's caption and place as bytes, for the feature shards."""
    return json.dumps([caption, image], ensure_ascii=False).encode()


def load(raw: Any) -> tuple[str, Any]:
    """Return (caption, place) of what ``dump`` made."""
    return tuple(json.loads(bytes(raw)))
