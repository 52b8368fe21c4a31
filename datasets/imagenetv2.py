"""ImageNetV2: a second test set of ImageNet's 1,000 classes, gathered like the first (Recht et al., 2019)."""
import os

from .base import FewShotDataset, register
from .class_names import read_wnids
from .download import Source, published_copy
from .home import InputError
from .imagenet import CLASSNAMES
from .splits import Item, Splits, list_folders, list_images


@register
class ImageNetV2(FewShotDataset):
    """The matched-frequency images; folders are numbered by the position of the class's WNID in sorted order."""

    folder = "imagenetv2"
    images = "imagenetv2-matched-frequency-format-val"
    needs = (images, "classnames.txt")
    test_only = True
    published = {"test": 10000, "classes": 1000}
    sources = (
        Source("imagenetv2-matched-frequency.tar.gz",
               ["https://s3-us-west-2.amazonaws.com/imagenetv2public/imagenetv2-matched-frequency.tar.gz"],
               gives=[images]),
        CLASSNAMES,
    )
    copy = published_copy("imagenetv2.zip", [images])

    def read(self) -> Splits:
        """Return the images as test split, standing in for the training split too."""
        where = self.path("classnames.txt")
        names = [name for _, name in sorted(read_wnids(where, self.remedy).items())]
        if len(names) != self.published["classes"] and self.allow_incomplete is False:
            raise InputError(f"{where}: {len(names):,} names instead of {self.published['classes']:,}: the folders are "
                             f"numbered by the position of a name, and would be taken for others; {self.remedy}")
        items = []
        folders = list_folders(self.image_dir)
        for number in sorted(folders, key=lambda name: (len(name), name)):
            if not number.isdigit() or int(number) >= len(names):
                raise InputError(f"{os.path.join(self.image_dir, number)}: a folder that is not numbered "
                                 f"0..{len(names) - 1}, the classes of {where}; {self.remedy}")
            images = list_images(os.path.join(self.image_dir, number))
            items += [Item(f"{number}/{image}", int(number), names[int(number)]) for image in images]
        return Splits(items, [], items)
