"""Downloads the parts of a dataset: from the first link that gives them, resuming what an earlier call left.

Resuming is ours because requests and urllib have none, and it is safe only where the server vouches, by its ETag, that
the file is still the same. What is not finished lies in ``DATA/.promptreg`` or in a hidden folder beside its place;
what has its final name is whole.
"""
import errno
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field

from tqdm import tqdm

from .home import SetupError, atomic

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
        urls: where to get it, in the order to try: ``https://…``, ``drive:ID`` (Google Drive) or
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

    def places(self) -> dict[str, str]:
        """Return ``{name in the archive: name in the dataset's folder}`` of all that this source may give."""
        gives = self.gives if isinstance(self.gives, dict) else {name: name for name in self.gives}
        return {**gives, **{name: name for name in self.optional}} or {self.file: self.file}

    def addresses(self, mirror: str | None = None) -> list[str]:
        """Return its urls, ``mirror``'s first."""
        return ([f"{mirror.rstrip('/')}/{self.file}"] if mirror else []) + self.urls

    def covers(self, wanted: Iterable[str]) -> bool:
        """Tell whether it gives one of the ``wanted`` files or folders."""
        return any(name == place or name.startswith(f"{place}/") for name in wanted for place in self.places().values())


def link(url: str, file: str) -> str:
    """Return a Source's url as a browser takes it."""
    scheme, _, rest = url.partition(":")
    if scheme == "drive":
        return f"https://drive.google.com/file/d/{rest}"
    if scheme == "hub":
        return f"https://huggingface.co/{rest.replace('@', '/blob/')}/{file}"
    return url


def published_copy(file: str, gives: Iterable[str], *optional: str, checksum: str = "") -> Source:
    """Return the Source of a dataset's archive in the community's copy."""
    return Source(file, [COPY], list(gives), optional, checksum)


def fetch(source: Source, folder: str, mirror: str | None = None) -> tuple[str, str]:
    """Download ``source`` into ``folder`` unless it is there, continuing what an earlier call left.

    Returns its path and where it came from. Raises Dead where no link gives it, SetupError where a download
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


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk, or the user's share of it, is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def full_disk(path: str, needed: int | None = None) -> SetupError:
    """Return the error for a disk that is, or would be, full."""
    free = shutil.disk_usage(os.path.dirname(path)).free
    amount = f"{needed / 1e9:.2f} GB more are needed, " if needed else ""
    return SetupError(f"{path}: the disk is full ({amount}{free / 1e9:.2f} GB are free); free some and run the "
                      "same command again, it continues")


def _from_http(url, path):
    part = path + ".part"
    for _ in range(ATTEMPTS):
        if _http_attempt(url, part):
            os.replace(part, path)
            os.unlink(part + ".from")
            return
    raise SetupError(f"{url}: broke off {ATTEMPTS} times, {os.path.getsize(part) / 1e6:.1f} MB are here; run the "
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
                if is_full(error):
                    raise full_disk(part) from error
                raise
            start += len(data)
            bar.update(len(data))


def _from_drive(identity, path):
    try:
        import gdown
    except ImportError:
        raise Dead("pip install gdown") from None
    _by_client(lambda: gdown.download(id=identity, output=path, resume=True), path)
    if not os.path.exists(path):
        raise Dead("Google Drive gave nothing")


def _from_hub(address, path):
    try:
        import huggingface_hub
    except ImportError:
        raise Dead("pip install huggingface_hub") from None
    repository, _, revision = address.partition("@")
    folder, name = os.path.split(path)
    _by_client(lambda: huggingface_hub.hf_hub_download(repository, name, revision=revision or None, local_dir=folder),
               path)


def _by_client(call, path):
    """Call a service's client; raises Dead, or SetupError where the disk is full."""
    try:
        call()
    except Exception as error:  # its own errors, those of the HTTP library it uses, and in some versions plain ones
        if is_full(error):
            raise full_disk(path) from error
        raise Dead(" ".join(str(error).split())[:200]) from error


def digests(path: str) -> dict[str, str]:
    """Return ``{"md5": …, "sha256": …}`` of a file."""
    hashes = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            for digest in hashes.values():
                digest.update(data)
    return {name: digest.hexdigest() for name, digest in hashes.items()}
