"""ImageNetA: 7,500 natural images of 200 of ImageNet's classes that classifiers got wrong (Hendrycks et al., 2021)."""
from .base import register
from .download import Source, published_copy
from .imagenet import CLASSNAMES, ImageNetVariant


@register
class ImageNetA(ImageNetVariant):
    """Labels run over the 200 classes that are there."""

    folder = "imagenet-adversarial"
    images = "imagenet-a"
    needs = (images, "classnames.txt")
    published = {"test": 7500, "classes": 200}
    sources = (
        Source("imagenet-a.tar", ["https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar"], gives=[images],
               checksum="md5:c3e55429088dc681f30d81f4726b6595"),
        CLASSNAMES,
    )
    copy = published_copy("imagenet-adversarial.zip", [images])
