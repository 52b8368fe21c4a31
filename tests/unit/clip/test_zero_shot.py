"""How many sentences a class's frozen feature is the mean of, and how many such features are kept on disk."""
import os

from trainers.clip import templates, zero_shot


def test_textual_diversity_is_of_60_sentences():
    assert len(templates.DIVERSE) == 60 and templates.DIVERSE[-1] == "itap of the {}."


def test_the_least_recently_used_features_make_room(tmp_path, monkeypatch):
    """Two of three files of 100 bytes fit; another process that removes the third at this moment is no error."""
    paths = [tmp_path / f"text-{name}.safetensors" for name in "bca"]
    for age, path in enumerate(paths):
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(zero_shot, "LIMIT_BYTES", 200)
    unlink = type(tmp_path).unlink
    monkeypatch.setattr(type(tmp_path), "unlink", lambda self, **more: unlink(self) or unlink(self, **more))
    zero_shot._make_room(paths[0])
    assert sorted(tmp_path.iterdir()) == sorted(paths[:2])
