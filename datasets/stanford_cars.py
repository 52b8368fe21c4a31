"""StanfordCars: 196 models of cars by make, model and year (Krause et al., 2013)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .files import read_mat
from .home import InputError
from .splits import Item, Splits, split_off_val

STANFORD = "http://ai.stanford.edu/~jkrause"


@register
class StanfordCars(FewShotDataset):
    """Labels from the MATLAB files of the development kit; the year moves to the front of the class name."""

    folder = "stanford_cars"
    needs = ("cars_train", "cars_test")
    annotations = ("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat", "devkit/cars_meta.mat")
    split_file = "split_zhou_StanfordCars.json"
    published = {"train": 6509, "val": 1635, "test": 8041, "classes": 196}
    sources = (
        Source("cars_train.tgz", [f"{STANFORD}/car196/cars_train.tgz"], gives=["cars_train"]),
        Source("cars_test.tgz", [f"{STANFORD}/car196/cars_test.tgz"], gives=["cars_test"]),
        Source("car_devkit.tgz", [f"{STANFORD}/cars/car_devkit.tgz",
                                  "https://github.com/pytorch/vision/files/11644847/car_devkit.tgz"], gives=["devkit"]),
        Source("cars_test_annos_withlabels.mat", [f"{STANFORD}/car196/cars_test_annos_withlabels.mat"]),
        Source(split_file, ["drive:1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT"]),
    )
    copy = published_copy("stanford_cars.zip", needs, split_file, "devkit", "cars_test_annos_withlabels.mat",
                          checksum="sha256:50812812f33534ef2906b992762f96e8a5bb57b0eedc53800e91b7ed599abf8e")

    def read(self) -> Splits:
        """Return the annotated lists, 20% of each class's training images as val."""
        names = [self._year_first(name.item()) for name in read_mat(self.path("devkit/cars_meta.mat"), "class_names",
                                                                    self.remedy).ravel()]
        train, val = split_off_val(self._read_list("devkit/cars_train_annos.mat", "cars_train", names))
        return Splits(train, val, self._read_list("cars_test_annos_withlabels.mat", "cars_test", names))

    def _read_list(self, file, folder, names):
        items = []
        annotations = read_mat(self.path(file), "annotations", self.remedy)
        if "class" not in (annotations.dtype.names or ()):
            raise InputError(f"{self.path(file)}: its annotations have no labels (those of cars_test_annos.mat have "
                             f"none: cars_test_annos_withlabels.mat is wanted); {self.remedy}")
        for entry in annotations.ravel():
            image, label = str(entry["fname"][0]), int(entry["class"][0, 0]) - 1
            if not 0 <= label < len(names):
                raise InputError(f"{self.path(file)}: {image} has label {label + 1}, out of range 1..{len(names)}; "
                                 f"{self.remedy}")
            items.append(Item(f"{folder}/{image}", label, names[label]))
        return items

    @staticmethod
    def _year_first(name):
        rest, _, year = str(name).rpartition(" ")
        return f"{year} {rest}"
