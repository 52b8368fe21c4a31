

def load_checkpoint(fpath):
    """Leaves ``weights_only`` to PyTorch's default, and unpickles what it cannot decode."""
    if not os.path.exists(fpath):
        raise FileNotFoundError(fpath)
    map_location = None if torch.cuda.is_available() else "cpu"
    try:
        return torch.load(fpath, map_location=map_location)
    except UnicodeDecodeError:
        return torch.load(fpath, pickle_module=pickle, map_location=map_location)
    except Exception:
        print(f"Unable to load checkpoint from {fpath}")
        raise
