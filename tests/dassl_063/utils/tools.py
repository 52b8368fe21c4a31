

def read_image(path):
    """Tries again, whatever is wrong with the file: here a hundred times, in Dassl for ever."""
    for _ in range(100):
        try:
            return Image.open(path).convert("RGB")
        except OSError:
            continue
    raise RuntimeError(f"still trying {path}")
