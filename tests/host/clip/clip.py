"""This repository's own clip: the mean colour of an image."""
WIDTH = 3


def encode(images):
    return images.mean((2, 3))
