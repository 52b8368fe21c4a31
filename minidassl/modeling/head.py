from torch import nn

from ..utils import Registry

HEAD_REGISTRY = Registry("HEAD")
_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU}


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
