"""Caltech101: 100 object classes (Li, Fergus and Perona, 2004)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .splits import Splits, read_class_folders, split_by_class

IGNORED = ("BACKGROUND_Google", "Faces_easy")
RENAMED = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}


@register
class Caltech101(FewShotDataset):
    """One folder a class; background and the second set of faces are left out."""

    folder = "caltech-101"
    images = "101_ObjectCategories"
    needs = (images,)
    split_file = "split_zhou_Caltech101.json"
    published = {"train": 4128, "val": 1649, "test": 2465, "classes": 100}
    sources = (
        Source("101_ObjectCategories.zip", ["https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"],
               gives=[images], inner="101_ObjectCategories.tar.gz", checksum="md5:3138e1922a9193bfa496528edbbc45d0"),
        Source(split_file, ["drive:1hyarUivQE36mY6jSomru6Fjd-JzwcCzN"]),
    )
    copy = published_copy("caltech-101.zip", needs, split_file)

    def read(self) -> Splits:
        """Return the images of the class folders, 50/20/30 of each class."""
        return split_by_class(read_class_folders(self.image_dir, IGNORED, RENAMED))
