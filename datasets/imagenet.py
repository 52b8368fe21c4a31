"""ImageNet: the 1,000 classes of ILSVRC 2012 (Deng et al., 2009; Russakovsky et al., 2015)."""
import os
from collections.abc import Mapping

from .base import FewShotDataset, register
from .class_names import read_wnids
from .download import Source
from .home import InputError
from .splits import Item, Splits, list_folders, list_images

CLASSNAMES = Source("classnames.txt", ["drive:1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF"])


def read_wnid_folders(folder: str, names: Mapping[str, str], where: str, remedy: str, prefix: str = "") -> list[Item]:
    """Return the images of a folder of WNID folders; labels are the positions of the WNIDs in sorted order.

    Everything is sorted (the published code lists images in the file system's order), so that a seed draws the
    same images on every machine. ``names`` maps WNIDs to class names, ``where`` is their file, for the error;
    paths start with ``prefix``, then the WNID.
    """
    items = []
    for label, wnid in enumerate(list_folders(folder)):
        if wnid not in names:
            raise InputError(f"{where}: no class name for the folder {os.path.join(folder, wnid)}; {remedy}")
        items += [Item(f"{prefix}{wnid}/{image}", label, names[wnid])
                  for image in list_images(os.path.join(folder, wnid))]
    if not items:
        raise InputError(f"{folder}: no images in folders named by WNID; {remedy}")
    return items


@register
class ImageNet(FewShotDataset):
    """One folder a class, named by its WNID; the published validation images are the test split and val."""

    folder = "imagenet"
    needs = ("images/train", "images/val", "classnames.txt")
    val_is_test = True
    published = {"train": 1281167, "val": 50000, "test": 50000, "classes": 1000}
    sources = (CLASSNAMES,)
    by_hand = (
        "ImageNet may not be passed on: ask for access at https://image-net.org and download "
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
        "unpack the training images, one tar a class in the big one, into images/train/WNID/",
        "unpack the validation images and sort them into images/val/WNID/ by the labels of the development kit "
        "(torchvision.datasets.ImageNet(folder, split='val') does both); or link the folders you have",
    )

    def read(self) -> Splits:
        """Return train and, as test, the validation images; paths start from the dataset's folder."""
        where = self.path("classnames.txt")
        names = read_wnids(where, self.remedy)
        train, test = (read_wnid_folders(self.path("images", split), names, where, self.remedy, f"images/{split}/")
                       for split in ("train", "val"))
        return Splits(train, [], test)


class ImageNetVariant(FewShotDataset):
    """Test images only, one folder a class, named by its WNID; labels count the WNIDs that are there."""

    test_only = True

    def read(self) -> Splits:
        """Return the images as test split, standing in for the training split too."""
        where = self.path("classnames.txt")
        items = read_wnid_folders(self.image_dir, read_wnids(where, self.remedy), where, self.remedy)
        return Splits(items, [], items)
