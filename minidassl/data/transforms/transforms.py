import random

import numpy as np
import torch
from torchvision import transforms as T
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

from ...utils import check_availability

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}

AVAI_CHOICES = [
    "random_flip", "random_resized_crop", "normalize", "instance_norm", "random_crop", "random_translation",
    "center_crop", "cutout", "imagenet_policy", "cifar10_policy", "svhn_policy", "randaugment", "gaussian_noise",
    "colorjitter", "randomgrayscale", "gaussian_blur",
]


class Random2DTranslation:
    """Resizes a PIL image to the size, or, with probability ``p``, to 1.125 times it and crops at random."""

    def __init__(self, height, width, p=0.5, interpolation=InterpolationMode.BILINEAR):
        self.height = height
        self.width = width
        self.p = p
        self.interpolation = interpolation

    def __call__(self, img):
        if random.uniform(0, 1) > self.p:
            return F.resize(img, [self.height, self.width], self.interpolation)
        height, width = round(self.height * 1.125), round(self.width * 1.125)
        img = F.resize(img, [height, width], self.interpolation)
        left = round(random.uniform(0, width - self.width))
        top = round(random.uniform(0, height - self.height))
        return F.crop(img, top, left, self.height, self.width)


class InstanceNormalization:
    """Shifts and scales each channel of an image tensor ``[C, H, W]`` to mean 0 and standard deviation 1."""

    def __init__(self, eps=1e-8):
        self.eps = eps

    def __call__(self, img):
        std, mean = torch.std_mean(img, dim=(1, 2), keepdim=True)
        return (img - mean) / (std + self.eps)


class Cutout:
    """Sets ``n_holes`` squares of side ``length`` of an image tensor ``[C, H, W]`` to 0 (arXiv 1708.04552)."""

    def __init__(self, n_holes=1, length=16):
        self.n_holes = n_holes
        self.length = length

    def __call__(self, img):
        img = img.clone()
        _, height, width = img.shape
        half = self.length // 2
        for _ in range(self.n_holes):
            y, x = np.random.randint(height), np.random.randint(width)
            img[:, max(y - half, 0):y + half, max(x - half, 0):x + half] = 0
        return img


class GaussianNoise:
    """Adds normal noise to an image tensor, with probability ``p``."""

    def __init__(self, mean=0, std=0.15, p=0.5):
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, img):
        if random.uniform(0, 1) > self.p:
            return img
        return img + torch.randn(img.size()) * self.std + self.mean


def _augmentations(cfg):
    """Return (name, words for the log, transform of a PIL image) of what is for training only, in order."""
    i = cfg.INPUT
    interpolation = INTERPOLATION_MODES[i.INTERPOLATION]
    jitter = i.COLORJITTER_B, i.COLORJITTER_C, i.COLORJITTER_S, i.COLORJITTER_H
    return [
        ("random_translation", "random translation", Random2DTranslation(*i.SIZE)),
        ("random_crop", f"random crop (padding = {i.CROP_PADDING})", T.RandomCrop(i.SIZE, padding=i.CROP_PADDING)),
        ("random_resized_crop", f"random resized crop (size={i.SIZE}, scale={i.RRCROP_SCALE})",
         T.RandomResizedCrop(i.SIZE, scale=i.RRCROP_SCALE, interpolation=interpolation)),
        ("random_flip", "random flip", T.RandomHorizontalFlip()),
        ("imagenet_policy", "imagenet policy", T.AutoAugment(T.AutoAugmentPolicy.IMAGENET)),
        ("cifar10_policy", "cifar10 policy", T.AutoAugment(T.AutoAugmentPolicy.CIFAR10)),
        ("svhn_policy", "svhn policy", T.AutoAugment(T.AutoAugmentPolicy.SVHN)),
        ("randaugment", f"randaugment (n={i.RANDAUGMENT_N}, m={i.RANDAUGMENT_M})",
         T.RandAugment(i.RANDAUGMENT_N, i.RANDAUGMENT_M)),
        ("colorjitter", "color jitter (brightness={}, contrast={}, saturation={}, hue={})".format(*jitter),
         T.ColorJitter(*jitter)),
        ("randomgrayscale", "random gray scale", T.RandomGrayscale(i.RGS_P)),
        ("gaussian_blur", f"gaussian blur (kernel={i.GB_K})", T.RandomApply([T.GaussianBlur(i.GB_K)], p=i.GB_P)),
    ]


def _tensor_steps(cfg):
    """Return the same of what works on tensors, in order; the second list also applies in testing."""
    i = cfg.INPUT
    normalization = ("normalize", f"normalization (mean={i.PIXEL_MEAN}, std={i.PIXEL_STD})",
                     T.Normalize(i.PIXEL_MEAN, i.PIXEL_STD))
    noise = ("gaussian_noise", f"gaussian noise (mean={i.GN_MEAN}, std={i.GN_STD})",
             GaussianNoise(i.GN_MEAN, i.GN_STD))
    cutout = ("cutout", f"cutout (n_holes={i.CUTOUT_N}, length={i.CUTOUT_LEN})", Cutout(i.CUTOUT_N, i.CUTOUT_LEN))
    instance = ("instance_norm", "instance normalization", InstanceNormalization())
    return [cutout, normalization, noise, instance], [normalization, instance]


def build_transform(cfg, is_train=True, choices=None):
    """Build the transform from a PIL image to a tensor ``[3, H, W]``, H and W being INPUT.SIZE.

    In training, the steps named in INPUT.TRANSFORMS apply, in a fixed order. In testing, the short side is resized
    to the larger of INPUT.SIZE and the center cropped; of the named steps only the normalizations apply.

    Args:
        choices: names used in place of INPUT.TRANSFORMS.

    Raises:
        ValueError: a name is unknown.
    """
    i = cfg.INPUT
    if i.NO_TRANSFORM:
        print("Note: no transform is applied!")
        return None
    choices = i.TRANSFORMS if choices is None else choices
    for choice in choices:
        check_availability(choice, AVAI_CHOICES)

    interpolation = INTERPOLATION_MODES[i.INTERPOLATION]
    size = f"{i.SIZE[0]}x{i.SIZE[1]}"
    train_tensor_steps, test_tensor_steps = _tensor_steps(cfg)
    if is_train:
        crops = "random_crop" in choices or "random_resized_crop" in choices
        steps = [] if crops else [(None, f"resize to {size}", T.Resize(i.SIZE, interpolation))]
        steps += _augmentations(cfg)
        tensor_steps = train_tensor_steps
    else:
        steps = [(None, f"resize the smaller edge to {max(i.SIZE)}", T.Resize(max(i.SIZE), interpolation)),
                 (None, f"{size} center crop", T.CenterCrop(i.SIZE))]
        tensor_steps = test_tensor_steps
    steps += [(None, "to torch tensor of range [0, 1]", T.ToTensor()), *tensor_steps]

    print("Building transform_train" if is_train else "Building transform_test")
    transform = []
    for name, words, step in steps:
        if name is None or name in choices:
            print(f"+ {words}")
            transform.append(step)
    return T.Compose(transform)
