"""OxfordFlowers: 102 kinds of flowers (Nilsback and Zisserman, 2008)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .files import read_json, read_mat
from .home import InputError
from .splits import Item, Splits, split_by_class

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"


@register
class OxfordFlowers(FewShotDataset):
    """Images numbered from 1, their labels (from 1) in a MATLAB file, the names in a JSON file."""

    folder = "oxford_flowers"
    images = "jpg"
    needs = (images,)
    annotations = ("imagelabels.mat", "cat_to_name.json")
    split_file = "split_zhou_OxfordFlowers.json"
    published = {"train": 4093, "val": 1633, "test": 2463, "classes": 102}
    sources = (
        Source("102flowers.tgz", [f"{OXFORD}/102flowers.tgz"], gives=[images],
               checksum="md5:52808999861908f626f3c1f4e79d11fa"),
        Source("imagelabels.mat", [f"{OXFORD}/imagelabels.mat"], checksum="md5:e0620be6f572b9609742df49c70aed4d"),
        Source("cat_to_name.json", ["drive:1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0"]),
        Source(split_file, ["drive:1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT"]),
    )
    copy = published_copy("oxford_flowers.zip", needs, split_file, *annotations)

    def read(self) -> Splits:
        """Return the labelled images, 50/20/30 of each class."""
        labels = [int(label) for label in read_mat(self.path("imagelabels.mat"), "labels", self.remedy).ravel()]
        where = self.path("cat_to_name.json")
        names = read_json(where, self.remedy)
        if not isinstance(names, dict):
            raise InputError(f"{where}: not of the form {{\"label\": \"class name\", ...}}; {self.remedy}")
        unnamed = sorted({label for label in labels if not isinstance(names.get(str(label)), str)})
        if unnamed:
            raise InputError(f"{where}: no name for label {unnamed[0]}; {self.remedy}")
        return split_by_class([Item(f"image_{number:05d}.jpg", label - 1, names[str(label)])
                               for number, label in enumerate(labels, start=1)])
