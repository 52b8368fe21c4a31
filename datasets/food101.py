"""Food101: 101 dishes (Bossard, Guillaumin and Van Gool, 2014)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .splits import Splits, read_class_folders, split_by_class


@register
class Food101(FewShotDataset):
    """One folder a class."""

    folder = "food-101"
    images = "images"
    needs = (images,)
    split_file = "split_zhou_Food101.json"
    published = {"train": 50500, "val": 20200, "test": 30300, "classes": 101}
    sources = (
        Source("food-101.tar.gz", ["http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"], gives=[images, "meta"],
               checksum="md5:85eeb15f3717b99a5da872d97d918f87"),
        Source(split_file, ["drive:1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl"]),
    )
    copy = published_copy("food101.zip", needs, split_file)

    def read(self) -> Splits:
        """Return the images of the class folders, 50/20/30 of each class."""
        return split_by_class(read_class_folders(self.image_dir))
