"""Digits: scikit-learn's 1,797 handwritten digits, real images that come with a package and need no download."""
import os

from .base import register
from .home import InputError
from .made import MadeDataset
from .splits import Splits, read_class_folders, split_by_class

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZE = 32


@register
class Digits(MadeDataset):
    """Handwritten digits, 32x32, white on black, ten classes named zero to nine; written as files on first use.

    The images are those of ``sklearn.datasets.load_digits`` (UCI Optical Recognition of Handwritten Digits, the
    test part): 8x8 pixels of 0..16, scaled to 0..255 and enlarged by bicubic interpolation.
    """

    folder = "digits"
    published = {"train": 898, "val": 359, "test": 540, "classes": 10}

    @classmethod
    def check_source(cls) -> None:
        """Raise InputError where scikit-learn is not installed."""
        try:
            import sklearn.datasets  # noqa: F401
        except ImportError:
            raise InputError("Digits: its images come from scikit-learn: pip install scikit-learn") from None

    def write_images(self, folder: str) -> None:
        """Write the digits as PNG files ``folder/NAME/NAME_0000.png``."""
        from PIL import Image
        from sklearn.datasets import load_digits

        for classname in NAMES:
            os.mkdir(os.path.join(folder, classname))
        digits = load_digits()
        for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            image = Image.fromarray((pixels * (255 / 16)).round().astype("uint8"))
            image = image.resize((SIZE, SIZE), Image.BICUBIC).convert("RGB")
            image.save(os.path.join(folder, NAMES[digit], f"{NAMES[digit]}_{number:04d}.png"))

    def read(self) -> Splits:
        """Return the fixed split, 50/20/30 of each class."""
        items = read_class_folders(self.image_dir)
        return split_by_class([item._replace(label=NAMES.index(item.classname)) for item in items])
