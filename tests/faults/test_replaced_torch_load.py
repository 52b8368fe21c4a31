"""A host that replaces ``torch.load`` by one that unpickles anything does so for its own files, not for ours."""
import os
from pathlib import Path

import pytest
import torch

from trainers.clip import weights
from trainers.errors import InputError
from trainers.training import checkpoint


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harm-done",)


@pytest.fixture
def unsafe(monkeypatch, tmp_path):
    """As many put it at the top of their train.py."""
    load = torch.load

    def replaced(*args, **options):
        return load(*args, **{**options, "weights_only": False})
    monkeypatch.setattr(torch, "load", replaced)
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "epoch": 1, "harm": Harmful()}, "file.pth.tar")
    replaced("file.pth.tar")
    assert Path("harm-done").exists()
    Path("harm-done").unlink()


@pytest.mark.parametrize("read", [checkpoint.read_prompts, weights.read_weights])
def test_our_readers_unpickle_nothing(read, unsafe):
    with pytest.raises(InputError, match="file.pth.tar"):
        read("file.pth.tar")
    assert not Path("harm-done").exists()
