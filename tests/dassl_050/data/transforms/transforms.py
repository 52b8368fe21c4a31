

def build_transform(cfg, is_train=True, choices=None):
    if cfg.INPUT.NO_TRANSFORM:
        return None
    choices = cfg.INPUT.TRANSFORMS if choices is None else choices
    last = [T.ToTensor()]
    if "normalize" in choices:
        last.append(T.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD))
    return (_build_transform_train if is_train else _build_transform_test)(cfg, choices, last)


def _build_transform_train(cfg, choices, last):
    from PIL import Image
    mode = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "nearest": Image.NEAREST}[cfg.INPUT.INTERPOLATION]
    steps = []
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.append(T.Resize(cfg.INPUT.SIZE, interpolation=mode))
    if "random_resized_crop" in choices:
        steps.append(T.RandomResizedCrop(cfg.INPUT.SIZE, interpolation=mode))
    if "random_flip" in choices:
        steps.append(T.RandomHorizontalFlip())
    return T.Compose([*steps, *last])


def _build_transform_test(cfg, choices, last):
    mode = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    return T.Compose([T.Resize(max(cfg.INPUT.SIZE), interpolation=mode), T.CenterCrop(cfg.INPUT.SIZE), *last])
