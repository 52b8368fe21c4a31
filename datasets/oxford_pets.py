"""OxfordPets: 37 breeds of cats and dogs (Parkhi et al., 2012)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .files import read_lines
from .home import InputError
from .splits import Item, Splits, split_off_val


@register
class OxfordPets(FewShotDataset):
    """Breeds by the names of the image files; annotations hold lines of "NAME LABEL SPECIES BREED"."""

    folder = "oxford_pets"
    images = "images"
    needs = (images,)
    annotations = ("annotations/trainval.txt", "annotations/test.txt")
    split_file = "split_zhou_OxfordPets.json"
    published = {"train": 2944, "val": 736, "test": 3669, "classes": 37}
    sources = (
        Source("images.tar.gz", ["https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz"], gives=[images],
               checksum="md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        Source("annotations.tar.gz", ["https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz"],
               gives=["annotations"], checksum="md5:95a8c909bbe2e81eed6a22bccdf3f68f"),
        Source(split_file, ["drive:1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs"]),
    )
    copy = published_copy("oxford_pets.zip", (*needs, "annotations"), split_file)

    def read(self) -> Splits:
        """Return the annotated lists, 20% of each class's trainval as val."""
        train, val = split_off_val(self._read_list("trainval.txt"))
        return Splits(train, val, self._read_list("test.txt"))

    def _read_list(self, name):
        path = self.path("annotations", name)
        items = []
        for line in read_lines(path, self.remedy):
            fields = line.split()
            if len(fields) != 4 or not fields[1].isdigit():
                raise InputError(f"{path}: '{line}' is not NAME LABEL SPECIES BREED; {self.remedy}")
            breed = fields[0].rpartition("_")[0].lower()
            items.append(Item(f"{fields[0]}.jpg", int(fields[1]) - 1, breed))
        return items
