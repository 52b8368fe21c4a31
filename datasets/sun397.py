"""SUN397: 397 kinds of scenes (Xiao et al., 2010)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .files import read_lines
from .home import InputError
from .splits import Item, Splits, split_off_val

PRINCETON = "http://vision.princeton.edu/projects/2010/SUN"


@register
class SUN397(FewShotDataset):
    """Lists of "/a/abbey/NAME.jpg"; labels are the lines of ClassName.txt."""

    folder = "sun397"
    images = "SUN397"
    needs = (images,)
    annotations = ("ClassName.txt", "Training_01.txt", "Testing_01.txt")
    split_file = "split_zhou_SUN397.json"
    published = {"train": 15880, "val": 3970, "test": 19850, "classes": 397}
    sources = (
        Source("SUN397.tar.gz", [f"{PRINCETON}/SUN397.tar.gz"], gives=[images],
               checksum="md5:8ca2778205c41d23104230ba66911c7a"),
        Source("Partitions.zip", [f"{PRINCETON}/download/Partitions.zip"], gives=annotations),
        Source(split_file, ["drive:1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq"]),
    )
    copy = published_copy("sun397.zip", needs, split_file, *annotations,
                          checksum="sha256:ce6dee6685c9f1d592c8297e193dde885aa9c50d008fd998a38ccc57a3dda722")

    def read(self) -> Splits:
        """Return the lists of the first partition, 20% of each class's training images as val."""
        names = [line.lstrip("/") for line in read_lines(self.path("ClassName.txt"), self.remedy)]
        labels = {name: label for label, name in enumerate(names)}
        train, val = split_off_val(self._read_list("Training_01.txt", labels))
        return Splits(train, val, self._read_list("Testing_01.txt", labels))

    def _read_list(self, file, labels):
        items = []
        for line in read_lines(self.path(file), self.remedy):
            image = line.lstrip("/")
            scene = image.rpartition("/")[0]
            if scene not in labels:
                raise InputError(f"{self.path(file)}: '{line}' is of no class in ClassName.txt; {self.remedy}")
            # a/athletic_field/outdoor is the class "outdoor athletic_field": the letter goes, the rest turns round
            items.append(Item(image, labels[scene], " ".join(reversed(scene.split("/")[1:]))))
        return items
