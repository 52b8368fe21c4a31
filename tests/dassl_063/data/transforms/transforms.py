

def solarize_add(image, addition=0):
    """An augmentation's way to numbers; numpy has had no ``np.int`` since 1.24."""
    return np.clip(np.array(image).astype(np.int) + addition, 0, 255).astype(np.uint8)


def shrink(image, size):
    """Pillow has had no ``Image.ANTIALIAS`` since 10."""
    from PIL import Image
    return image.resize((size, size), Image.ANTIALIAS)
