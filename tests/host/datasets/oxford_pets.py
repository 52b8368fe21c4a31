"""This repository's own OxfordPets: folders of images, every second one for the test."""
import os

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import listdir_nohidden


@DATASET_REGISTRY.register()
class OxfordPets(DatasetBase):
    dataset_dir = "pets"

    def __init__(self, cfg):
        print("the host's own OxfordPets")
        root = os.path.join(os.path.abspath(cfg.DATASET.ROOT), self.dataset_dir)
        items = [Datum(impath=os.path.join(root, name, image), label=label, classname=name)
                 for label, name in enumerate(sorted(listdir_nohidden(root)))
                 for image in sorted(listdir_nohidden(os.path.join(root, name)))]
        train = self.generate_fewshot_dataset(items[::2], num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, val=items[1::2], test=items[1::2])
