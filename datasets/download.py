"""Fetching the parts of a dataset: where from, whole or to be continued, checked, unpacked with care, put in place.

Everything that is not finished lies in ``DATA/.promptreg`` or in a hidden folder beside its place; what has its
final name is whole.
"""
import errno
import hashlib
import http.client
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tqdm import tqdm

from .home import EnvironmentFault, InputError, atomic

CHUNK = 1 << 20
ATTEMPTS = 3
TIMEOUT = 60  # seconds without a byte

# The community's copy of CoOp's layout, all but ImageNet; a fixed revision, so that it stays what was looked at.
COPY = "hub:zhengli97/prompt_learning_dataset@ceb3112337fb6e1bf71534e355ca5569b63f19a6"


class Dead(Exception):
    """A link that gives nothing: refused, not found, or its client is not installed. Another may be tried."""


@dataclass(frozen=True)
class Source:
    """A file to fetch and what of it goes where.

    Args:
        file: its name.
        urls: where it can be had, in the order to try: ``https://…``, ``drive:ID`` (Google Drive) or
            ``hub:OWNER/REPOSITORY@REVISION`` (the file of that name in a repository of the model hub).
        gives: names of files or folders in the archive, which keep their names in the dataset's folder, or a dict
            from name to new name. Empty for a file that is wanted as it is.
        optional: more names, taken where they are there.
        checksum: ``"md5:…"`` or ``"sha256:…"`` as published.
        inner: name of a further archive in this one.
    """

    file: str
    urls: list
    gives: dict = field(default_factory=dict)
    optional: tuple = ()
    checksum: str = ""
    inner: str = ""

    def places(self):
        """Return ``{name in the archive: name in the dataset's folder}`` of all that this source may give."""
        gives = self.gives if isinstance(self.gives, dict) else {name: name for name in self.gives}
        return {**gives, **{name: name for name in self.optional}} or {self.file: self.file}

    def addresses(self, mirror=None):
        """Return its urls, ``mirror``'s first."""
        return ([f"{mirror.rstrip('/')}/{self.file}"] if mirror else []) + self.urls

    def covers(self, wanted):
        """Tell whether it gives one of the ``wanted`` files or folders."""
        return any(name == place or name.startswith(f"{place}/") for name in wanted for place in self.places().values())


def link(url, file):
    """Return a Source's url as a browser takes it."""
    scheme, _, rest = url.partition(":")
    if scheme == "drive":
        return f"https://drive.google.com/file/d/{rest}"
    if scheme == "hub":
        return f"https://huggingface.co/{rest.replace('@', '/blob/')}/{file}"
    return url


def published_copy(file, gives, *optional, checksum=""):
    """Return the Source of a dataset's archive in the community's copy."""
    return Source(file, [COPY], list(gives), optional, checksum)


def fetch(source, folder, mirror=None):
    """Download ``source`` into ``folder`` unless it is there, continuing what an earlier call left.

    Returns its path and where it came from. Raises Dead where no link gives it, EnvironmentFault where a download
    broke off (to be continued) or the disk is full.
    """
    path = os.path.join(folder, source.file)
    if os.path.exists(path):
        return path, "the file put there"
    os.makedirs(folder, exist_ok=True)
    reasons = []
    for url in source.addresses(mirror):
        scheme, _, rest = url.partition(":")
        try:
            if scheme == "drive":
                _from_drive(rest, path)
            elif scheme == "hub":
                _from_hub(rest, path)
            else:
                _from_http(url, path)
            return path, link(url, source.file)
        except Dead as error:
            reasons.append(f"{link(url, source.file)} ({error})")
    raise Dead("; ".join(reasons))


def full_disk(path, needed=None):
    """Return the error for a disk that is, or would be, full."""
    free = shutil.disk_usage(os.path.dirname(path)).free
    amount = f"{needed / 1e9:.2f} GB more are needed, " if needed else ""
    return EnvironmentFault(f"{path}: the disk is full ({amount}{free / 1e9:.2f} GB are free); free some and run the "
                            "same command again, it continues")


def _from_http(url, path):
    part = path + ".part"
    for _ in range(ATTEMPTS):
        if _http_attempt(url, part):
            os.replace(part, path)
            os.unlink(part + ".from")
            return
    raise EnvironmentFault(f"{url}: broke off {ATTEMPTS} times, {os.path.getsize(part) / 1e6:.1f} MB are here; run the "
                           "same command again, it continues")


def _http_attempt(url, part):
    """Fetch what is still missing of ``part``; True where it is whole then, False where the line broke."""
    start, tag = _begun(part, url)
    request = urllib.request.Request(url, headers={"User-Agent": "promptreg", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        if tag:  # continue only what is still the same file on the server
            request.add_header("If-Range", tag)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after what is here: it is whole, or not of this file
            if error.headers.get("Content-Range", "") == f"bytes */{start}":
                return True
            os.unlink(part)
            return False
        raise Dead(f"HTTP {error.code}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Dead(getattr(error, "reason", None) or error) from error
    with response:
        if response.status != 206:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        if total and shutil.disk_usage(os.path.dirname(part)).free < total - start:
            raise full_disk(part, total - start)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if not start:
            open(part, "wb", opener=atomic.no_link).close()  # what is there is not of this file: it must not look so
        with open(part + ".from", "w", opener=atomic.no_link) as file:
            file.write(f"{url}\n{'' if tag.startswith('W/') else tag}")  # a weak tag cannot vouch for single bytes
        here, broken = _receive(response, part, start, total)
    return not broken and total in (None, here)


def _begun(part, url):
    """Return how much of ``url`` is in ``part`` already, and the server's tag of it."""
    if not os.path.exists(part) or not os.path.exists(part + ".from"):
        return 0, ""
    with open(part + ".from") as file:
        begun, _, tag = file.read().partition("\n")
    return (os.path.getsize(part), tag) if begun == url else (0, "")


def _receive(response, part, start, total):
    """Append the response's bytes to ``part`` (from ``start``); return how many it holds then, and whether it broke."""
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=os.path.basename(part)[:-len(".part")])
    with bar, open(part, "ab" if start else "wb", opener=atomic.no_link) as file:
        while True:
            try:
                data = response.read(CHUNK)
            except (OSError, http.client.HTTPException):
                return start, True
            if not data:
                os.fsync(file.fileno())
                return start, False
            try:
                file.write(data)
                file.flush()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise full_disk(part) from error
                raise
            start += len(data)
            bar.update(len(data))


def _from_drive(identity, path):
    try:
        import gdown
    except ImportError:
        raise Dead("pip install gdown") from None
    try:
        gdown.download(id=identity, output=path, resume=True)
    except Exception as error:  # gdown raises its own errors, those of requests, and in some versions plain ones
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk(path) from error
        raise Dead(" ".join(str(error).split())[:200]) from error
    if not os.path.exists(path):
        raise Dead("Google Drive gave nothing")


def _from_hub(address, path):
    try:
        import huggingface_hub
    except ImportError:
        raise Dead("pip install huggingface_hub") from None
    repository, _, revision = address.partition("@")
    folder, name = os.path.split(path)
    try:
        huggingface_hub.hf_hub_download(repository, name, revision=revision or None, local_dir=folder)
    except Exception as error:  # the hub's own errors and those of whatever HTTP library it uses
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk(path) from error
        raise Dead(" ".join(str(error).split())[:200]) from error


def digests(path):
    """Return ``{"md5": …, "sha256": …}`` of a file."""
    hashes = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            for digest in hashes.values():
                digest.update(data)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


def unpack(archive, folder):
    """Unpack a tar or zip archive into ``folder``, which is made and must not be there.

    Raises InputError for an archive that is damaged, or whose entries lead out of the folder or are links or
    devices; ``folder`` is gone again then. Raises EnvironmentFault where the disk is full.
    """
    os.makedirs(folder)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            _unpack_tar(archive, folder)
    except InputError:
        shutil.rmtree(folder)
        raise
    except Exception as error:  # zlib, lzma, struct, tarfile, zipfile and the system, each with errors of its own
        shutil.rmtree(folder)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk(folder) from error
        raise InputError(f"{archive}: a damaged or truncated archive ({error or type(error).__name__})") from error
    except BaseException:
        shutil.rmtree(folder)
        raise


def _inside(archive, name):
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or [""])[0]:
        raise InputError(f"{archive}: its entry '{name}' leads out of the folder, so nothing of it is taken")
    return os.path.join(*path.parts) if path.parts else ""


def _unpack_tar(archive, folder):
    with tarfile.open(archive) as tar:
        for member in tqdm(tar, desc=f"unpack {os.path.basename(archive)}", unit=" files"):
            inside = _inside(archive, member.name)
            if member.islnk() or member.issym():
                raise InputError(f"{archive}: its entry '{member.name}' is a link to '{member.linkname}', so nothing "
                                 "of it is taken")
            if member.isdir():
                os.makedirs(os.path.join(folder, inside), exist_ok=True)
            elif member.isfile():
                _write_entry(tar.extractfile(member), os.path.join(folder, inside))
            else:
                raise InputError(f"{archive}: its entry '{member.name}' is a device, so nothing of it is taken")
        # Python takes a tar that is cut between two entries for a whole one; a whole one ends in zeros.
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(512).strip(b"\0") or tar.fileobj.tell() < tar.offset + 512:
            raise tarfile.ReadError("its end is missing")
        while tar.fileobj.read(CHUNK):  # to the end, where a compressed one has its check sum
            pass


def _unpack_zip(archive, folder):
    with zipfile.ZipFile(archive) as bundle:
        for entry in tqdm(bundle.infolist(), desc=f"unpack {os.path.basename(archive)}", unit=" files"):
            inside = _inside(archive, entry.filename)
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise InputError(f"{archive}: its entry '{entry.filename}' is a link, so nothing of it is taken")
            if entry.is_dir():
                os.makedirs(os.path.join(folder, inside), exist_ok=True)
            else:
                with bundle.open(entry) as file:
                    _write_entry(file, os.path.join(folder, inside))


def _write_entry(file, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as target:
        shutil.copyfileobj(file, target, CHUNK)


def find(folder, name):
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


def put_in_place(source, path, folder):
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
