

def load_checkpoint(fpath):
    """Leaves ``weights_only`` to PyTorch's default."""
    if not os.path.exists(fpath):
        raise FileNotFoundError(fpath)
    return torch.load(fpath, map_location=None if torch.cuda.is_available() else "cpu")
