"""Datasets whose pictures come with a package: written as files on first use, nothing is downloaded."""
import os
import shutil
import tempfile

from .base import FewShotDataset
from .home import InputError, atomic
from .splits import Splits, read_split_file, under, write_split_file


class MadeDataset(FewShotDataset):
    """A dataset that writes its pictures itself. A subclass gives `write_images` and `read`."""

    images = "images"

    @classmethod
    def check(cls, root: str) -> None:
        """Raise InputError where the pictures are neither there nor can be written."""
        folder = os.path.join(root, cls.folder)
        if os.path.isdir(os.path.join(folder, cls.images)):
            return
        cls.check_source()
        existing = os.path.abspath(folder)  # of a relative one, dirname ends at "", which does not exist
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK):
            raise InputError(f"{cls.__name__}: {existing} is not a folder that can be written to, so the images cannot "
                             f"be made in {folder}; give another --root")

    @classmethod
    def check_source(cls) -> None:
        """Raise InputError where what the pictures are made from is not installed."""

    def write_images(self, folder: str) -> None:
        """Write all pictures into the empty ``folder``."""
        raise NotImplementedError

    def load_splits(self) -> Splits:
        """Write what is not there yet, images before the split, and return the split."""
        path = self.path(self.own_split_file())
        try:
            if not os.path.isdir(self.image_dir):
                with atomic.exclusive_lock(self.path(".lock")):
                    self._make()
            if not self.test_only and not os.path.exists(path):
                write_split_file(path, self.read())
        except OSError as error:
            raise InputError(f"{self.label}: cannot write to {self.dataset_dir} ({error.strerror}); free some space or "
                             "give another --root") from error
        if self.test_only:
            return under(self.images, self.read())
        splits = read_split_file(path, "delete it, and it is made anew")
        self.check_complete(splits, f"delete {self.dataset_dir}, and it is made anew")
        return under(self.images, splits)

    def _make(self):
        """Write the folder of pictures, which appears whole or not at all; the caller holds the lock."""
        if os.path.isdir(self.image_dir):  # written by another process while this one waited for the lock
            return
        above, name = os.path.split(self.image_dir)
        for left in os.listdir(above):
            if left.startswith(f".{name}-"):  # what an earlier process left half done
                shutil.rmtree(os.path.join(above, left))
        making = tempfile.mkdtemp(prefix=f".{name}-", dir=above)
        try:
            os.chmod(making, 0o755)
            self.write_images(making)
            os.rename(making, self.image_dir)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
