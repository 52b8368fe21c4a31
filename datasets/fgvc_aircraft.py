"""FGVCAircraft: 100 variants of aircraft (Maji et al., 2013)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .files import read_lines
from .home import InputError
from .splits import Item, Splits

LISTS = [f"images_variant_{split}.txt" for split in Splits._fields]


@register
class FGVCAircraft(FewShotDataset):
    """Comes with splits of its own, lists of "ID CLASS NAME"; labels are the lines of variants.txt."""

    folder = "fgvc_aircraft"
    images = "images"
    needs = (images, "variants.txt", *LISTS)
    published = {"train": 3334, "val": 3333, "test": 3333, "classes": 100}
    sources = (
        Source("fgvc-aircraft-2013b.tar.gz",
               ["https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz"],
               gives=needs),
    )
    copy = published_copy("fgvc_aircraft.zip", needs)

    def read(self) -> Splits:
        """Return the published lists."""
        labels = {name: label for label, name in enumerate(read_lines(self.path("variants.txt"), self.remedy))}
        return Splits(*(self._read_list(self.path(name), labels) for name in LISTS))

    def _read_list(self, path, labels):
        items = []
        for line in read_lines(path, self.remedy):
            image, _, variant = line.partition(" ")
            if variant not in labels:
                raise InputError(f"{path}: '{line}' names a class that is not in variants.txt; {self.remedy}")
            items.append(Item(f"{image}.jpg", labels[variant], variant))
        return items
