"""Unpacks downloaded archives, refusing what leads out of their folder, and puts what they give in its place.

The extraction is tarfile's (with its filter "data") and zipfile's. Both rename suspicious entries without a word, and
tarfile keeps links; here such an archive is refused as a whole, before any of it is in place.
"""
import errno
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath

from tqdm import tqdm

from .download import CHUNK, Source, full_disk, is_full
from .home import InputError

# Python before 3.10.12 and 3.11.4 has no filters; the checks below do not depend on them.
FILTER = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def unpack(archive: str, folder: str) -> None:
    """Unpack a tar or zip archive into ``folder``, which is made and must not exist.

    Raises:
        InputError: the archive is damaged, or an entry leads out of the folder or is a link or a device. ``folder`` is
            gone again then.
        SetupError: the disk is full.
    """
    os.makedirs(folder)
    try:
        (_unpack_zip if zipfile.is_zipfile(archive) else _unpack_tar)(archive, folder)
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        if is_full(error):
            raise full_disk(folder) from error
        # zlib, lzma, struct, tarfile, zipfile and the system, each with errors of its own
        raise InputError(f"{archive}: a damaged or truncated archive ({error or type(error).__name__})") from error


def _inside(archive, name):
    """Return an entry's name as a path below the folder. Raises InputError where it leads out."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or [""])[0]:
        raise InputError(f"{archive}: its entry '{name}' leads out of the folder, so nothing of it is taken")
    return str(path)


def _unpack_tar(archive, folder):
    with tarfile.open(archive) as tar:
        for member in tqdm(tar, desc=f"unpack {os.path.basename(archive)}", unit=" files"):
            if member.islnk() or member.issym():
                raise InputError(f"{archive}: its entry '{member.name}' is a link to '{member.linkname}', so nothing "
                                 "of it is taken")
            if not (member.isdir() or member.isfile()):
                raise InputError(f"{archive}: its entry '{member.name}' is a device, so nothing of it is taken")
            member.name = _inside(archive, member.name)
            tar.extract(member, folder, set_attrs=False, **FILTER)
        # Python takes a tar that is cut between two entries for a whole one; a whole one ends in zeros.
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(512).strip(b"\0") or tar.fileobj.tell() < tar.offset + 512:
            raise tarfile.ReadError("its end is missing")
        while tar.fileobj.read(CHUNK):  # to the end, where a compressed one has its check sum
            pass


def _unpack_zip(archive, folder):
    with zipfile.ZipFile(archive) as bundle:
        for entry in tqdm(bundle.infolist(), desc=f"unpack {os.path.basename(archive)}", unit=" files"):
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise InputError(f"{archive}: its entry '{entry.filename}' is a link, so nothing of it is taken")
            entry.filename = _inside(archive, entry.filename) + "/" * entry.is_dir()
            bundle.extract(entry, folder)


def find(folder: str, name: str) -> str | None:
    """Return the path of the file or folder ``name`` that lies least deep in ``folder``, or None."""
    level = [folder]
    while level:
        below = []
        for parent in level:
            for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
                if entry.name == name:
                    return entry.path
                if entry.is_dir() and entry.name != "__MACOSX":
                    below.append(entry.path)
        level = below
    return None


def put_in_place(source: Source, path: str, folder: str) -> None:
    """Move what ``source``'s download at ``path`` gives to its places in the dataset's ``folder``.

    What is in its place already stays as it is. Each thing appears in its place whole or not at all. Raises like
    `unpack`, and InputError for an archive without what it should give.
    """
    os.makedirs(folder, exist_ok=True)
    places = source.places()
    if places == {source.file: source.file}:
        _move(path, os.path.join(folder, source.file))
        return
    unpacked = os.path.join(folder, f".unpack-{source.file}")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpack(path, unpacked)
    try:
        if source.inner and not find(unpacked, next(iter(places))):
            inner = find(unpacked, source.inner)
            if inner is None:
                raise InputError(f"{path}: holds no {source.inner}")
            unpack(inner, os.path.join(unpacked, ".inner"))
        found = {name: find(unpacked, name) for name in places}
        lost = [name for name in source.gives if found[name] is None]
        if lost:
            raise InputError(f"{path}: holds no {', '.join(lost)}")
        for name, place in places.items():
            if found[name]:
                _move(found[name], os.path.join(folder, place))
    finally:
        shutil.rmtree(unpacked)


def _move(path, place):
    if os.path.exists(place):
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    try:
        os.rename(path, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = f"{place}.incoming"  # another file system: copy first, so that the last step is a rename again
        shutil.rmtree(near, ignore_errors=True)
        shutil.move(path, near)
        os.rename(near, place)
