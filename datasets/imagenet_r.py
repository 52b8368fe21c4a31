"""ImageNetR: 30,000 renditions (art, toys, tattoos, ...) of 200 of ImageNet's classes (Hendrycks et al., 2021)."""
from .base import register
from .download import Source, published_copy
from .imagenet import CLASSNAMES, ImageNetVariant


@register
class ImageNetR(ImageNetVariant):
    """Labels run over the 200 classes that are there."""

    folder = "imagenet-rendition"
    images = "imagenet-r"
    needs = (images, "classnames.txt")
    published = {"test": 30000, "classes": 200}
    sources = (
        Source("imagenet-r.tar", ["https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar"], gives=[images],
               checksum="md5:a61312130a589d0ca1a8fca1f2bd3337"),
        CLASSNAMES,
    )
    copy = published_copy("imagenet-rendition.zip", [images])
