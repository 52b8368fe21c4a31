"""scikit-learn's scanned digits as a folder of pictures in class folders named by words that the demo's CLIP knows.

    python tests/support/digit_photos.py FOLDER     # 30 of each digit from zero to five
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five")


def digit_photos(folder, each=21, names=NAMES):
    """Write ``each`` pictures of every digit from 0 on into a class folder of its name; returns the folder."""
    digits = load_digits()
    for digit, name in enumerate(names):
        (Path(folder) / name).mkdir(parents=True)
        for number, scan in enumerate(digits.images[digits.target == digit][:each]):
            picture = Image.fromarray(np.uint8(scan * 255 / 16)).resize((64, 64), Image.Resampling.BICUBIC)
            picture.save(Path(folder) / name / f"{number:02}.png")
    return Path(folder)


def table(folder, path, separator=","):
    """Write a CSV that names a folder's pictures, as seen from the CSV's place; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"../{picture.relative_to(path.parent.parent)}{separator}{picture.parent.name}"
             for picture in sorted(folder.rglob("*.png"))]
    path.write_text("\n".join([f"image{separator}label", *lines]) + "\n")
    return path


if __name__ == "__main__":
    digit_photos(sys.argv[1], each=30)
