"""The emoji datasets: what is in which split, and that the study's CLIP has seen none of the pictures."""
import hashlib
import json

import pytest
from support.paths import ROOT

import trainers  # noqa: F401  (brings minidassl where there is no Dassl)
from datasets import emoji
from trainers.clip.load import load_clip
from trainers.clip.weights import EMBEDDED

RECORD = json.loads(EMBEDDED["study"].with_suffix(".json").read_text())
DATASETS = [value for value in vars(emoji).values() if isinstance(value, type) and
            issubclass(value, emoji.EmojiDataset) and value.set_name]


def glyph_hashes(entries):
    files = emoji.glyphs()[1]
    return {hashlib.sha256(files[entry["file"]]).hexdigest() for entry in entries}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.__name__)
def test_no_glyph_is_in_train_and_test(dataset):
    """Neither the drawing nor its content, nor the emoji (kinds) or the artist (things), by the split's file names."""
    if dataset.test_only:
        return
    drawings = {(entry["code"], entry["hand"]): entry for entry in dataset.entries()}
    splits = dataset.__new__(dataset).read()
    train, test = ([drawings[tuple(item.path.split("/")[1].split("_")[:2])] for item in items]
                   for items in (splits.train + splits.val, splits.test))
    assert train and test and not glyph_hashes(train) & glyph_hashes(test)
    key = "code" if dataset is emoji.EmojiKinds else "hand"
    assert not {entry[key] for entry in train} & {entry[key] for entry in test}


def test_the_study_s_clip_has_seen_no_picture_of_a_dataset():
    seen = set(RECORD["emoji"])
    assert len(seen) > 900
    for dataset in DATASETS:
        entries = dataset.entries()
        assert not {e["hand"] for e in entries} & set(RECORD["hands"])
        codes = {e["code"] for e in entries}
        assert not codes & seen if dataset is emoji.EmojiKinds else codes <= seen


def test_no_emoji_is_in_two_sets():
    owners = {}
    for entry in emoji.glyphs()[0]:
        owners.setdefault(entry["code"], set()).add(entry["dataset"])
    assert all(len(sets) == 1 for sets in owners.values())


def test_the_study_s_clip_knows_the_words_of_all_classes():
    clip = load_clip("study")
    for dataset in DATASETS:
        for name in {dataset.class_of(entry) for entry in dataset.entries()}:
            assert set(clip.tokenizer.encode(f"a photo of a {name}.")) <= clip.known_tokens, name


def test_pictures_are_written_once_and_split_as_said(tmp_path):
    folder, splits = emoji.EmojiSigns.whole(str(tmp_path))
    assert [len(part) for part in splits] == [480, 180, 360]
    assert len({item.label for item in splits.test}) == 30
    first = (tmp_path / "emoji_signs" / splits.test[0].path).read_bytes()
    assert emoji.EmojiSigns.whole(str(tmp_path))[1] == splits
    assert (tmp_path / "emoji_signs" / splits.test[0].path).read_bytes() == first


def test_every_dataset_has_its_config_and_every_picture_its_artist():
    text = (ROOT / "datasets" / "EMOJI_ATTRIBUTION.md").read_text()
    for dataset in DATASETS:
        assert dataset.__name__ in (ROOT / "configs/datasets" / f"{dataset.folder}.yaml").read_text()
    assert all(f"| {e['hand']} |" in text and e["licence"] in text for e in emoji.glyphs()[0])
