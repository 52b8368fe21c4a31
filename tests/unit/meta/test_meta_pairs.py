"""From pairs on disk to features and hierarchy: three kinds of corpus, bad pairs, runs that were killed."""
import io
import json
import multiprocessing
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support import reference
from torchvision import transforms

from trainers.cli import gram_browse
from trainers.clip import load_clip
from trainers.errors import InputError
from trainers.meta import clustering, features, hierarchy
from trainers.meta.cluster_names import is_junk, name_clusters, stop_words
from trainers.meta.pairs import Corpus, picture

TRANSFORM = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_clip(str(reference.weights_file("vit", tmp_path_factory.mktemp("weights"))))


def png(i):
    content = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), 3 * i % 256, np.uint8)).save(content, "PNG")
    return content.getvalue()


def caption(i):
    return f"a photo of number {i} – grey".encode()


def make(kind, folder, n):
    """n pairs as a TSV, a folder, or two shards; returns the corpus's path."""
    folder.mkdir(parents=True)
    if kind == "tars":
        for shard in range(2):
            with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
                for i in range(shard * n // 2, (shard + 1) * n // 2):
                    for suffix, content in (("json", b"{}"), ("png", png(i)), ("txt", caption(i))):
                        member = tarfile.TarInfo(f"{i:09d}.{suffix}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
        return folder
    (folder / "images").mkdir()
    for i in range(n):
        (folder / "images" / f"{i:03d}.png").write_bytes(png(i))
        if kind == "folder":
            (folder / "images" / f"{i:03d}.txt").write_bytes(caption(i))
    if kind == "folder":
        return folder
    lines = [b"filepath\ttitle", *(f"images/{i:03d}.png\t".encode() + caption(i) for i in range(n))]
    (folder / "pairs.tsv").write_bytes(b"\r\n".join(lines) + b"\n")
    return folder / "pairs.tsv"


@pytest.mark.parametrize("kind", ["tsv", "folder", "tars"])
def test_every_kind_of_corpus_gives_the_same_features(kind, clip, tmp_path):
    plain = features.extract(Corpus(make("tsv", tmp_path / "plain", 10)), clip, TRANSFORM, tmp_path / "a", block=4)
    found = features.extract(Corpus(make(kind, tmp_path / kind, 10)), clip, TRANSFORM, tmp_path / "b", block=4)
    assert len(found) == 10 and found.bad == 0
    rows = np.arange(10)
    assert [text for text, _ in found.records(rows)] == [caption(i).decode() for i in range(10)]
    for what in ("image", "text"):
        vectors = found.vectors(what, rows)
        assert torch.equal(vectors, plain.vectors(what, rows)) and vectors.shape == (10, clip.embed_dim)
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(10))
    assert torch.allclose(found.vectors("image", np.array([7])), found.vectors("image", rows)[7:8])
    image = TRANSFORM(Image.open(io.BytesIO(png(7))))[None]
    assert torch.allclose(features.encode_images(clip, image), found.vectors("image", np.array([7])), atol=1e-3)


def spoil(folder, n):
    """Among n good pairs: a missing image, a broken one, an empty caption, one not in UTF-8, a line of one field."""
    path = make("tsv", folder, n)
    (folder / "images" / "bad.png").write_bytes(b"no image")
    with open(path, "ab") as file:
        file.write(b"images/nowhere.png\ta thing\nimages/bad.png\ta thing\nimages/001.png\t  \n"
                   b"images/002.png\t\xff\xfe\nimages/003.png\n")
    return path


def test_bad_pairs_are_skipped_counted_and_listed(clip, tmp_path):
    found = features.extract(Corpus(spoil(tmp_path / "c", 120)), clip, TRANSFORM, tmp_path / "f", block=50)
    assert (found.pairs, found.bad) == (120, 5)
    listed = (tmp_path / "f" / "bad.tsv").read_text().splitlines()
    assert len(listed) == 5 and "line 122, images/nowhere.png\tthe file is missing" in listed[0]
    for line, word in zip(listed, ("missing", "broken", "empty", "UTF-8", "tab"), strict=True):
        assert word in line.split("\t")[1]


def test_images_of_16_bits_are_scaled_not_cut_off(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    Image.fromarray(values).save(tmp_path / "deep.png")
    got = np.asarray(picture(tmp_path, "deep.png"))
    assert np.abs(got.astype(int) - values[..., None] // 257).max() <= 1 and got.std() > 50


def test_too_many_bad_pairs_stop(clip, tmp_path):
    with pytest.raises(InputError, match="5 of 25 pairs cannot be used, more than 5%") as error:
        features.extract(Corpus(spoil(tmp_path / "c", 20)), clip, TRANSFORM, tmp_path / "f")
    assert "\n" not in str(error.value) and not (tmp_path / "f" / "done.json").exists()
    with pytest.raises(InputError, match="no pairs"):
        (tmp_path / "empty").mkdir()
        features.extract(Corpus(tmp_path / "empty"), clip, TRANSFORM, tmp_path / "g")
    with pytest.raises(InputError, match="there is no corpus"):
        Corpus(tmp_path / "nowhere")


def test_shards_and_folders_with_holes(clip, tmp_path):
    folder = make("folder", tmp_path / "c", 60)
    (folder / "images" / "007.txt").unlink()
    (folder / "images" / "009.png").unlink()
    found = features.extract(Corpus(folder), clip, TRANSFORM, tmp_path / "f")
    assert (found.pairs, found.bad) == (58, 2)
    tars = make("tars", tmp_path / "t", 60)
    whole = (tars / "00001.tar").read_bytes()
    (tars / "00001.tar").write_bytes(whole[:len(whole) - 20_000])
    found = features.extract(Corpus(tars), clip, TRANSFORM, tmp_path / "g", bad_limit=0.5)
    assert 30 < found.pairs < 60 and found.bad >= 1


def test_killed_extraction_ends_with_the_same_files(clip, tmp_path, monkeypatch):
    corpus = Corpus(make("tars", tmp_path / "c", 20))
    features.extract(corpus, clip, TRANSFORM, tmp_path / "whole", block=6)
    encode, calls = features._encode, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(*args)
    monkeypatch.setattr(features, "_encode", dies)
    with pytest.raises(KeyboardInterrupt):
        features.extract(corpus, clip, TRANSFORM, tmp_path / "killed", block=6)
    assert len(list((tmp_path / "killed").iterdir())) == 2
    features.extract(corpus, clip, TRANSFORM, tmp_path / "killed", block=6)
    assert len(calls) == 5  # two blocks were kept
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "killed").iterdir()) and len(names) == 6
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


OPTIONS = {"domains": 3, "classes": 4, "least": 5, "sample": 5000, "seed": 1, "backend": "sklearn"}


def planted(folder, n=1200, width=32, seed=0):
    """Features with three domains of four classes, and a tenth of the images in the wrong class; returns the truth."""
    rng = np.random.default_rng(seed)
    domain, kind = rng.integers(3, size=n), rng.integers(4, size=n)
    shown = np.where(rng.random(n) < 0.1, rng.integers(4, size=n), kind)
    places, classes = rng.normal(size=(2, 3, width)), rng.normal(size=(2, 3, 4, width)) * 0.6
    image = places[0][domain] + classes[0][domain, shown] + 0.05 * rng.normal(size=(n, width))
    text = places[1][domain] + classes[1][domain, kind] + 0.05 * rng.normal(size=(n, width))
    words = [[f"word{d}{c}" for c in range(4)] for d in range(3)]
    units = (torch.nn.functional.normalize(torch.tensor(x).float(), dim=-1) for x in (image, text))
    features.write_shards(folder, *units, lambda i: f"a photo of the {words[domain[i]][kind[i]]} here", block=500)
    return domain, kind, shown


def test_hierarchy_finds_what_was_planted(tmp_path):
    from sklearn.metrics import adjusted_rand_score
    domain, kind, shown = planted(tmp_path / "f")
    found = features.Features(tmp_path / "f", tmp_path)
    tree = hierarchy.build(found, tmp_path / "f" / "h.tree", OPTIONS)
    assert adjusted_rand_score(domain, tree.domain) > 0.99
    kept = tree.pseudo >= 0
    assert adjusted_rand_score((4 * domain + kind)[kept], tree.pseudo[kept]) > 0.99
    assert (kept == (shown == kind)).mean() > 0.99  # pairs whose image disagrees are dropped, and no others
    for i, d in enumerate(tree.domains):
        agreeing = (shown == kind)[tree.domain == i].mean()
        assert len(d["classes"]) == 4 and d["agreement"] == pytest.approx(agreeing, abs=0.02)
        for c in d["classes"]:
            rows = np.flatnonzero(tree.pseudo == c["number"])
            assert c["pairs"] == len(rows) and c["name"] == f"word{domain[rows[0]]}{kind[rows[0]]}"


@pytest.mark.parametrize("installed", [True, False])
def test_faiss_is_taken_for_many_pairs_where_it_is_there(installed, monkeypatch):
    monkeypatch.setattr(clustering.importlib.util, "find_spec", lambda name: name if installed else None)
    assert clustering.chosen("auto", 1_000_000) == ("faiss" if installed else "sklearn")
    assert clustering.chosen("auto", 1_000) == clustering.chosen("sklearn", 1_000_000) == "sklearn"
    assert clustering.chosen("faiss", 10) == "faiss"


def test_faiss_finds_what_was_planted(tmp_path):
    pytest.importorskip("faiss")
    drawn = np.random.default_rng(0)
    points = 3 * drawn.normal(size=(5, 1, 8)) + 0.1 * drawn.normal(size=(5, 200, 8))
    found = clustering.kmeans(points.reshape(-1, 8).astype(np.float32), 5, 1, "faiss")
    distance = np.linalg.norm(points.mean(1)[:, None] - found[None], axis=-1)
    assert sorted(distance.argmin(1)) == [0, 1, 2, 3, 4] and distance.min(1).max() < 0.1


def test_killed_clustering_ends_with_the_same_file(tmp_path, monkeypatch):
    planted(tmp_path / "f")
    found = features.Features(tmp_path / "f", tmp_path)
    hierarchy.build(found, tmp_path / "whole.tree", OPTIONS)
    split, calls = clustering.split_classes, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return split(*args)
    monkeypatch.setattr(clustering, "split_classes", dies)
    with pytest.raises(KeyboardInterrupt):
        hierarchy.build(found, tmp_path / "killed.tree", OPTIONS)
    assert not (tmp_path / "killed.tree").exists()
    hierarchy.build(found, tmp_path / "killed.tree", OPTIONS)
    assert len(calls) == 4 and not (tmp_path / "killed.parts").exists()
    assert (tmp_path / "killed.tree").read_bytes() == (tmp_path / "whole.tree").read_bytes()


def test_too_small_a_corpus_is_named(tmp_path):
    planted(tmp_path / "f", n=40)
    with pytest.raises(InputError, match="no pseudo-class of 500 agreeing pairs"):
        hierarchy.build(features.Features(tmp_path / "f", tmp_path), tmp_path / "h.tree", {**OPTIONS, "least": 500})


def test_names_are_short_different_and_telling():
    names = name_clusters([["a photo of a red circle", "the red circle!", "a big red circle"],
                           ["a photo of a blue star", "many blue stars", "blue star"],
                           ["a photo", "a photo"], ["a photo", "photo of it"]])
    assert names[0] == "red circle" and names[1].startswith("blue")
    assert len(set(names)) == 4 and all(1 <= len(n.split()) <= 4 for n in names)


def test_names_leave_out_what_all_the_corpus_says():
    animals = [["a photo of a white dog", "photo: white dogs", "a photo of a dog"],
               ["white cat, photo", "photo of a cat"]]
    food = [["a photo of white bread", "white bread photo"], ["photo of soup, white", "photo of soup"]]
    boats = [["a photo of a boat", "boat"], ["a photo of a ship, white"]]
    stop = stop_words([sum(domain, []) for domain in (animals, food, boats)])
    assert stop == {"a", "of", "photo", "white"}
    names = name_clusters([["photo photo", "photo"], ["photo of a cat", "photo of a cat"]], stop)
    assert names == ["thing 2", "cat"] and name_clusters([["photo"], ["cat"]]) == ["photo", "cat"]
    inside = [["black dog with black hat", "dog with black hat", "dog"], ["cat"]]
    assert name_clusters(inside, frozenset({"black"})) == ["dog", "cat"]  # no longer name by way of a stop word
    assert [is_junk(name, stop) for name in ("photo", "white photo", "thing 2", "white dog", "cat")] == [
        True, True, True, False, False]
    assert not stop_words([["a photo of a dog"]])  # of one domain alone nothing is common


def test_a_cluster_whose_images_disagree_is_no_class(tmp_path):
    planted(tmp_path / "f")  # nine of ten agree
    found = features.Features(tmp_path / "f", tmp_path)
    for agreement, classes in ((0.5, 12), (0.99, 0)):
        if classes:
            tree = hierarchy.build(found, tmp_path / f"{agreement}.tree", {**OPTIONS, "agreement": agreement})
            assert hierarchy.junk(tree) == {"classes": classes, "junk": 0, "examples": []}
        else:
            with pytest.raises(InputError, match="no pseudo-class of"):
                hierarchy.build(found, tmp_path / f"{agreement}.tree", {**OPTIONS, "agreement": agreement})


def test_page_shows_the_hierarchy(clip, tmp_path, capsys):
    found = features.extract(Corpus(make("tars", tmp_path / "c", 40)), clip, TRANSFORM, tmp_path / "f")
    options = {"domains": 2, "classes": 2, "least": 1, "sample": 100, "seed": 1, "backend": "sklearn"}
    tree = hierarchy.build(found, tmp_path / "f" / "h.tree", options, {"corpus": found.digest, "root": str(found.root)})
    assert gram_browse.main([str(tmp_path / "f" / "h.tree"), "--samples", "2"]) == 0
    text = (tmp_path / "f" / "h.html").read_text()
    classes = [c for d in tree.domains for c in d["classes"]]
    assert text.count("<section>") == len(classes)
    assert text.count("data:image/png") == sum(min(2, c["pairs"]) for c in classes)
    assert all(f"<h3>{c['name']}</h3>" in text for c in classes) and f"{len(tree.domains)} domains" in text
    held, _ = hierarchy.held_out(tree, 0.25)
    marked = [number for number in range(2) if "held out" in text.split(f'id="d{number}"')[1].split("<small>")[0]]
    assert marked == held and "TRAINER.GRAM.HELD_OUT, by default 0.25" in text
    assert gram_browse.main([str(tmp_path / "f" / "h.tree"), "--held-out", "1.5"]) == 2
    assert "--held-out must be at least 0 and below 1, got 1.5" in capsys.readouterr().err
    assert gram_browse.main([str(tmp_path / "nowhere.tree")]) == 2
    assert "there is no hierarchy" in capsys.readouterr().err


def test_shard_is_data_with_its_faults(clip, tmp_path):
    features.extract(Corpus(spoil(tmp_path / "c", 120)), clip, TRANSFORM, tmp_path / "f", block=200)
    shard = load_file(tmp_path / "f" / "000000.safetensors")
    assert shard["image"].dtype == torch.float16 and len(shard["record_ends"]) == 120
    assert json.loads((tmp_path / "f" / "done.json").read_text())["bad"] == 5


def test_two_runs_that_cluster_the_same_features(clip, tmp_path, monkeypatch):
    """Two seeds, say, started together: one builds the hierarchy, the other waits and reads it."""
    found = features.extract(Corpus(make("folder", tmp_path / "c", 60)), clip, TRANSFORM, tmp_path / "f")
    options = {"domains": 3, "classes": 2, "least": 1, "sample": 100, "seed": 1, "backend": "sklearn"}
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=hierarchy.build, args=(found, tmp_path / "f" / "h.tree", options)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(120)
    assert [process.exitcode for process in pair] == [0, 0]
    assert not (tmp_path / "f" / "h.parts").exists() and hierarchy.read_hierarchy(tmp_path / "f" / "h.tree").domains
    monkeypatch.setattr(hierarchy.atomic, "exclusive_lock", lambda path: pytest.fail("the folder may be read-only"))
    assert hierarchy.build(found, tmp_path / "f" / "h.tree", options).domains
