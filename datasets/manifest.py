"""The record of what was downloaded: origin, size and check sum of each file."""
import json
import os
from typing import Any

from .download import digests
from .files import read_json
from .home import InputError, atomic


class Manifest:
    """What was downloaded, ``DATA/.promptreg/manifest.json``: origin, size and SHA-256 of each file, by name."""

    def __init__(self, root: str) -> None:
        self.path = os.path.join(root, ".promptreg", "manifest.json")
        self.files = {}
        if os.path.exists(self.path):
            remedy = "delete it, it is written anew"
            self.files = read_json(self.path, remedy)
            if not isinstance(self.files, dict) or not all(isinstance(entry, dict) for entry in self.files.values()):
                raise InputError(f"{self.path}: entries of files by their names should stand in it; {remedy}")

    def verify(self, key: str, path: str, checksum: str, origin: str) -> dict[str, Any]:
        """Compare a download with its published checksum and with the recorded one; return what to record of it.

        Raises InputError where it differs; the download is deleted then, so that the next call starts afresh.
        """
        found = digests(path)
        kind, _, published = checksum.partition(":")
        recorded = self.files.get(key, {}).get("sha256")
        for expected, actual, said in ((published, found.get(kind), f"published {kind}"),
                                       (recorded, found["sha256"], f"sha256 in {self.path}")):
            if expected and expected != actual:
                os.unlink(path)
                raise InputError(f"{key} from {origin}: its checksum {actual} is not the {said} {expected}; the "
                                 "download was deleted, run the same command to try again")
        return {"from": origin, "bytes": os.path.getsize(path), "sha256": found["sha256"]}

    def record(self, key: str, entry: dict[str, Any]) -> None:
        """Keep an entry of `verify`, the first time that what was downloaded proved good."""
        if key not in self.files:
            self.files[key] = entry
            atomic.write_file(self.path, json.dumps(self.files, indent=1, sort_keys=True) + "\n")
