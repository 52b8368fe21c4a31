"""ImageNetSketch: sketches of ImageNet's 1,000 classes (Wang et al., 2019)."""
from .base import register
from .download import Source, published_copy
from .imagenet import CLASSNAMES, ImageNetVariant


@register
class ImageNetSketch(ImageNetVariant):
    """Sketches, 50 or 51 a class."""

    folder = "imagenet-sketch"
    images = "images"
    needs = (images, "classnames.txt")
    published = {"test": 50889, "classes": 1000}
    sources = (
        Source("ImageNet-Sketch.zip",
               ["drive:1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA",
                "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip"],
               gives={"sketch": images}),
        CLASSNAMES,
    )
    copy = published_copy("imagenet-sketch.zip", [images])
