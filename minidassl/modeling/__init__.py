"""The parts SimpleNet is made of: torchvision's networks in place of Dassl's collection of backbones."""
import torchvision
from torch import nn

from ..utils import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")
HEAD_REGISTRY = Registry("HEAD")
_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU}


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


@HEAD_REGISTRY.register()
def mlp(in_features=2048, hidden_layers=(), activation="relu", bn=True, dropout=0.0):
    """Build linear layers of the given widths, each with batch norm, activation and dropout where asked for."""
    layers = []
    for width in hidden_layers:
        layers.append(nn.Linear(in_features, width))
        layers += [nn.BatchNorm1d(width)] if bn else []
        layers.append(_ACTIVATIONS[activation]())
        layers += [nn.Dropout(dropout)] if dropout > 0 else []
        in_features = width
    head = nn.Sequential(*layers)
    head.out_features = in_features
    return head


def build_head(name, verbose=True, **kwargs):
    """Build a registered head, a module from features to features with the attribute ``out_features``."""
    if verbose:
        print(f"Head: {name}")
    return HEAD_REGISTRY.get(name)(**kwargs)
