"""DescribableTextures (DTD): 47 textures (Cimpoi et al., 2014)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .splits import Splits, read_class_folders, split_by_class


@register
class DescribableTextures(FewShotDataset):
    """One folder a class."""

    folder = "dtd"
    images = "images"
    needs = (images,)
    split_file = "split_zhou_DescribableTextures.json"
    published = {"train": 2820, "val": 1128, "test": 1692, "classes": 47}
    sources = (
        Source("dtd-r1.0.1.tar.gz", ["https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz"],
               gives=[images, "imdb", "labels"], checksum="md5:fff73e5086ae6bdbea199a49dfb8a4c1"),
        Source(split_file, ["drive:1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x"]),
    )
    copy = published_copy("dtd.zip", needs, split_file)

    def read(self) -> Splits:
        """Return the images of the class folders, 50/20/30 of each class."""
        return split_by_class(read_class_folders(self.image_dir))
