import torchvision
from torch import nn

from ..utils import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")


def build_backbone(name, verbose=True, **kwargs):
    """Build a registered backbone, or a torchvision network without its classifier, by name.

    Args:
        kwargs: ``pretrained`` (whether to load torchvision's weights) and what a registered backbone takes.

    Returns:
        A module from images ``[B, 3, H, W]`` to features ``[B, out_features]``, with that attribute.
    """
    if verbose:
        print(f"Backbone: {name}")
    if name in BACKBONE_REGISTRY.registered_names():
        return BACKBONE_REGISTRY.get(name)(**kwargs)
    net = torchvision.models.get_model(name, weights="DEFAULT" if kwargs.pop("pretrained", False) else None, **kwargs)
    attribute = next(a for a in ("fc", "classifier", "heads", "head") if hasattr(net, a))
    linear = next(m for m in getattr(net, attribute).modules() if isinstance(m, nn.Linear))
    setattr(net, attribute, nn.Identity())
    net.out_features = linear.in_features
    return net
