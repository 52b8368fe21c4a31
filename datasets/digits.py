"""Digits: scikit-learn's 1,797 handwritten digits, real images that come with a package and need no download."""
import os
import shutil
import tempfile

from .base import FewShotDataset, register
from .home import InputError, atomic
from .splits import Splits, read_class_folders, read_split_file, split_by_class, under, write_split_file

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZE = 32


@register
class Digits(FewShotDataset):
    """Handwritten digits, 32x32, white on black, ten classes named zero to nine; written as files on first use.

    The images are those of ``sklearn.datasets.load_digits`` (UCI Optical Recognition of Handwritten Digits, the
    test part): 8x8 pixels of 0..16, scaled to 0..255 and enlarged by bicubic interpolation.
    """

    folder = "digits"
    images = "images"
    published = {"train": 898, "val": 359, "test": 540, "classes": 10}

    @classmethod
    def check(cls, root: str) -> None:
        """Raise InputError where the images are neither there nor can be written."""
        folder = os.path.join(root, cls.folder)
        if os.path.isdir(os.path.join(folder, cls.images)):
            return
        try:
            import sklearn.datasets  # noqa: F401
        except ImportError:
            raise InputError("Digits: its images come from scikit-learn: pip install scikit-learn") from None
        existing = os.path.abspath(folder)  # of a relative one, dirname ends at "", which does not exist
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK):
            raise InputError(f"Digits: {existing} is not a folder that can be written to, so the images cannot be "
                             f"made in {folder}; give another --root")

    def load_splits(self) -> Splits:
        """Write what is not there yet, images before the split, and return the split."""
        path = self.path(self.own_split_file())
        try:
            if not os.path.isdir(self.image_dir):
                with atomic.exclusive_lock(self.path(".lock")):
                    write_images(self.image_dir)
            if not os.path.exists(path):
                write_split_file(path, self.read())
        except OSError as error:
            raise InputError(f"Digits: cannot write to {self.dataset_dir} ({error.strerror}); free some space or give "
                             "another --root") from error
        splits = read_split_file(path, "delete it, and it is made anew")
        self.check_complete(splits, f"delete {self.dataset_dir}, and it is made anew")
        return under(self.images, splits)

    def read(self) -> Splits:
        """Return the fixed split, 50/20/30 of each class."""
        items = read_class_folders(self.image_dir)
        return split_by_class([item._replace(label=NAMES.index(item.classname)) for item in items])


def write_images(folder: str) -> None:
    """Write the digits as PNG files ``folder/NAME/NAME_0000.png``; the folder appears whole or not at all.

    The caller holds the lock of the folder above, so whatever an earlier process left half done can be swept away.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    if os.path.isdir(folder):  # written by another process while this one waited for the lock
        return
    above, name = os.path.split(folder)
    for left in os.listdir(above):
        if left.startswith(f".{name}-"):
            shutil.rmtree(os.path.join(above, left))
    making = tempfile.mkdtemp(prefix=f".{name}-", dir=above)
    try:
        os.chmod(making, 0o755)
        for classname in NAMES:
            os.mkdir(os.path.join(making, classname))
        digits = load_digits()
        for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            image = Image.fromarray((pixels * (255 / 16)).round().astype("uint8"))
            image = image.resize((SIZE, SIZE), Image.BICUBIC).convert("RGB")
            image.save(os.path.join(making, NAMES[digit], f"{NAMES[digit]}_{number:04d}.png"))
        os.rename(making, folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
