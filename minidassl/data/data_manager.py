import os
from functools import lru_cache

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from ..errors import ConfigError
from ..utils import read_image
from .datasets import build_dataset
from .samplers import build_sampler
from .transforms import INTERPOLATION_MODES, build_transform


@lru_cache
def _workers(wanted):
    """Return the number of worker processes: no more than there are cores. Says so once."""
    cores = os.cpu_count() or 1
    if wanted > cores:
        print(f"DATALOADER.NUM_WORKERS {wanted} is more than this machine has cores, using {cores}")
    return min(wanted, cores)


def build_data_loader(cfg, sampler_type="SequentialSampler", data_source=None, batch_size=64, n_domain=0, n_ins=2,
                      tfm=None, is_train=True, dataset_wrapper=None):
    """Build a loader of batches (see DatasetWrapper) of a list of Datum.

    In training the last, smaller batch is left out, unless it is the only one.

    Raises:
        ValueError: there are no images, or the sampler makes no whole batch of them.
    """
    if not data_source:
        raise ConfigError(f"the {'training' if is_train else 'evaluation'} set of {cfg.DATASET.NAME} has no images")
    sampler = build_sampler(sampler_type, cfg=cfg, data_source=data_source, batch_size=batch_size, n_domain=n_domain,
                            n_ins=n_ins)
    wrapper = dataset_wrapper or DatasetWrapper
    loader = DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=_workers(cfg.DATALOADER.NUM_WORKERS),
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )
    if len(loader) == 0:
        raise ConfigError(f"{sampler_type} makes no batch of {batch_size} of the {len(data_source)} training images")
    return loader


class DataManager:
    """The dataset of a config with its loaders.

    Attributes:
        dataset: the DatasetBase.
        train_loader_x, train_loader_u, val_loader, test_loader: train_loader_u and val_loader may be None.
        num_classes, num_source_domains, lab2cname: of the dataset.
    """

    def __init__(self, cfg, custom_tfm_train=None, custom_tfm_test=None, dataset_wrapper=None):
        self.dataset = dataset = build_dataset(cfg)
        self.num_classes = dataset.num_classes
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self.lab2cname = dataset.lab2cname

        if custom_tfm_train is not None:
            print("* Using custom transform for training")
        if custom_tfm_test is not None:
            print("* Using custom transform for testing")
        tfm_train = build_transform(cfg, is_train=True) if custom_tfm_train is None else custom_tfm_train
        tfm_test = build_transform(cfg, is_train=False) if custom_tfm_test is None else custom_tfm_test

        def train_loader(data_source, node):
            return build_data_loader(cfg, node.SAMPLER, data_source, node.BATCH_SIZE, node.N_DOMAIN, node.N_INS,
                                     tfm_train, is_train=True, dataset_wrapper=dataset_wrapper)

        def test_loader(data_source):
            node = cfg.DATALOADER.TEST
            return build_data_loader(cfg, node.SAMPLER, data_source, node.BATCH_SIZE, tfm=tfm_test, is_train=False,
                                     dataset_wrapper=dataset_wrapper)

        x, u = cfg.DATALOADER.TRAIN_X, cfg.DATALOADER.TRAIN_U
        self.train_loader_x = train_loader(dataset.train_x, x)
        self.train_loader_u = train_loader(dataset.train_u, x if u.SAME_AS_X else u) if dataset.train_u else None
        self.val_loader = test_loader(dataset.val) if dataset.val else None
        self.test_loader = test_loader(dataset.test)

        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    def show_dataset_summary(self, cfg):
        rows = [
            ("Dataset", cfg.DATASET.NAME),
            ("Source", cfg.DATASET.SOURCE_DOMAINS),
            ("Target", cfg.DATASET.TARGET_DOMAINS),
            ("# classes", f"{self.num_classes:,}"),
            *((f"# {name}", f"{len(items):,}") for name in ("train_x", "train_u", "val", "test")
              if (items := getattr(self.dataset, name))),
        ]
        rows = [(left, str(right)) for left, right in rows if right]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rule = "  ".join("-" * width for width in widths)
        print(rule, *(f"{left:<{widths[0]}}  {right}" for left, right in rows), rule, sep="\n")


class DatasetWrapper(Dataset):
    """Reads and transforms the images of a list of Datum.

    An item is a dict: ``label``, ``domain``, ``impath``, ``index``; ``img``, the transformed image ``[3, H, W]``
    (for a list of transforms also ``img2``, ``img3``, …; a list of views where K_TRANSFORMS is above 1, in training
    only); with DATALOADER.RETURN_IMG0 also ``img0``, the image resized but not augmented.

    Raises:
        ValueError: K_TRANSFORMS is above 1 and there is no transform.
    """

    def __init__(self, cfg, data_source, transform=None, is_train=False):
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        if self.k_tfm > 1 and transform is None:
            raise ConfigError(f"DATALOADER.K_TRANSFORMS is {self.k_tfm} but there is no transform to vary the image")

        plain = [T.Resize(cfg.INPUT.SIZE, INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]), T.ToTensor()]
        if "normalize" in cfg.INPUT.TRANSFORMS:
            plain.append(T.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD))
        self.to_tensor = T.Compose(plain)

    def __len__(self):
        return len(self.data_source)

    def __getitem__(self, idx):
        item = self.data_source[idx]
        image = read_image(item.impath)
        output = {"label": item.label, "domain": item.domain, "impath": item.impath, "index": idx}
        if self.transform is not None:
            several = isinstance(self.transform, (list, tuple))
            for number, transform in enumerate(self.transform if several else [self.transform], start=1):
                views = [transform(image) for _ in range(self.k_tfm)]
                output["img" if number == 1 else f"img{number}"] = views if self.k_tfm > 1 else views[0]
        else:
            output["img"] = image
        if self.return_img0:
            output["img0"] = self.to_tensor(image)
        return output
