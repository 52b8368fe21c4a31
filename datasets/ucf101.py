"""UCF101: the middle frames of videos of 101 actions (Soomro, Zamir and Shah, 2012)."""
import re

from .base import FewShotDataset, register
from .download import Source, published_copy
from .files import read_lines
from .home import InputError
from .splits import Item, Splits, split_off_val


@register
class UCF101(FewShotDataset):
    """Lists of "ApplyEyeMakeup/v_NAME.avi 1"; folders and class names are the action's words, Apply_Eye_Makeup."""

    folder = "ucf101"
    images = "UCF-101-midframes"
    needs = (images,)
    annotations = tuple(f"ucfTrainTestlist/{name}.txt" for name in ("classInd", "trainlist01", "testlist01"))
    split_file = "split_zhou_UCF101.json"
    published = {"train": 7639, "val": 1898, "test": 3783, "classes": 101}
    sources = (
        Source("UCF-101-midframes.zip", ["drive:10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O"], gives=[images]),
        Source("UCF101TrainTestSplits-RecognitionTask.zip",
               ["https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip"],
               gives=["ucfTrainTestlist"]),
        Source(split_file, ["drive:1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y"]),
    )
    copy = published_copy("ucf101.zip", needs, split_file, "ucfTrainTestlist",
                          checksum="sha256:2fe1bd40e64408d02ff173badf744da557033ae6c75dd4ea51519366551f3ae6")

    def read(self) -> Splits:
        """Return the lists of the first partition, 20% of each class's training images as val."""
        path = self.path("ucfTrainTestlist", "classInd.txt")
        labels = {}
        for line in read_lines(path, self.remedy):
            number, _, action = line.partition(" ")
            if not number.isdigit() or not action:
                raise InputError(f"{path}: '{line}' is not a number and an action; {self.remedy}")
            labels[action] = int(number) - 1
        train, val = split_off_val(self._read_list("trainlist01.txt", labels))
        return Splits(train, val, self._read_list("testlist01.txt", labels))

    def _read_list(self, name, labels):
        path = self.path("ucfTrainTestlist", name)
        items = []
        for line in read_lines(path, self.remedy):
            action, _, video = line.split(" ")[0].partition("/")
            if action not in labels:
                raise InputError(f"{path}: '{line}' is of no action in classInd.txt; {self.remedy}")
            words = "_".join(re.findall("[A-Z][^A-Z]*", action))
            items.append(Item(f"{words}/{video.replace('.avi', '.jpg')}", labels[action], words))
        return items
