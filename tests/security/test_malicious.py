"""Files and names from strangers: none runs anything, none writes outside of where it may.

Every bait is shown to be live first, where there is a way in which it would be: else a test that sees nothing happen
would say nothing.
"""
import argparse
import contextlib
import io
import itertools
import json
import os
import pickle
import struct
import tarfile
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import EpsImagePlugin, Image
from safetensors.torch import save_file
from support.archives import pack
from support.bait import CLOSE, QUOTE, SCRIPT, Page, in_markdown, put
from support.paths import ROOT

from datasets import prepare, show
from datasets.download import _receive
from datasets.fewshot import few_shot
from datasets.home import InputError, PromptRegError
from datasets.splits import IMAGE_ENDINGS, Item, Splits, read_split_file
from datasets.unpack import unpack
from trainers.cli import export, nearest_words
from trainers.cli.results import main as results_main
from trainers.clip import load_clip, weights
from trainers.config.build import setup_cfg
from trainers.inference import prompted_clip
from trainers.meta import hierarchy_page, pairs
from trainers.results import plots, render, report
from trainers.results.collect import collect, read_run
from trainers.results.table import tables
from trainers.sweep.plan import plan
from trainers.sweep.pool import Pool
from trainers.sweep.state import SweepState
from trainers.training import checkpoint, result
from trainers.training.run import main
from trainers.training.trained import read_trained
from trainers.utils import atomic, images, lock, torch_archive
from trainers.utils.console import Log, cli_errors

from minidassl.utils import load_checkpoint, tools, torchtools  # isort: skip  trainers has found Dassl


@pytest.fixture
def trap(tmp_path):
    """A folder that is not there, and that a bait makes where it runs."""
    place = tmp_path / "trap" / "ran"
    place.parent.mkdir()
    yield place
    assert list(place.parent.iterdir()) == [], "something ran"


class Runs:
    """Pickles as a call of ``function(*words)``."""

    def __init__(self, function, *words):
        self.call = function, words

    def __reduce__(self):
        return self.call


def baits(trap):
    """Return {what: an object that makes the trap when it is unpickled}."""
    code = f"__import__('os').mkdir({str(trap)!r})"
    return {"os.mkdir": Runs(os.mkdir, str(trap)), "eval": Runs(eval, code), "exec": Runs(exec, code),
            "numpy's": Runs(np.testing.runstring, code, {}),  # a harmless package's way to run a string
            "getattr": Runs(getattr, Runs(__import__, "os"), "mkdir")}


BAITS = tuple(baits(ROOT))


def spring(trap, raw):
    """See the bait work in a plain unpickler, and take away what it has made."""
    found = pickle.loads(raw)
    if callable(found):
        found(str(trap))
    assert trap.exists()
    trap.rmdir()


# ---------------------------------------------------------------- checkpoints and weights

READERS = {"checkpoint": checkpoint.read_checkpoint, "load": read_trained, "weights": weights.read_weights,
           "minidassl": load_checkpoint, "backbone": lambda path: load_clip(str(path))}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("where", ["whole", "scheduler", "parameter", "old format"])
@pytest.mark.parametrize("bait", BAITS)
def test_checkpoint(bait, where, reader, trap, tmp_path):
    harm = baits(trap)[bait]
    spring(trap, pickle.dumps(harm))
    content = {"whole": harm, "scheduler": {"state_dict": {"ctx": torch.zeros(4, 8)}, "scheduler": harm},
               "parameter": {"state_dict": {"ctx": harm}}, "old format": {"state_dict": {}, "scheduler": harm}}[where]
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=where != "old format")
    try:
        READERS[reader](tmp_path / "model.pt")  # what it makes of it, if anything, is dead
    except (InputError, OSError) as error:
        assert "\n" not in str(error) and "model.pt" in str(error)


class Program(torch.nn.Module):
    """A module whose script prints when it is loaded."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        print("the program ran")
        self.weight = state[0]
        self.training = state[1]

    def forward(self, x):
        return x + self.weight


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
def test_torchscript(reader, tmp_path, capfd):
    torch.jit.script(Program()).save(str(tmp_path / "model.pt"))
    torch.jit.load(str(tmp_path / "model.pt"))
    assert "the program ran" in capfd.readouterr().out
    try:
        READERS[reader](tmp_path / "model.pt")
    except (InputError, OSError) as error:
        assert "model.pt" in str(error)
    else:
        assert reader == "weights"  # OpenAI publishes TorchScript: its tensors are taken out, its program is left
    assert "the program ran" not in capfd.readouterr().out


def two_tables_of_contents(raw):
    """Return a zip whose table of contents is ``raw``'s for PyTorch and another for Python, which looks elsewhere."""
    end = raw.rindex(b"PK\5\6")
    entries, size, begin = struct.unpack("<HII", raw[end + 10:end + 20])
    name = b"archive/x"
    file = b"PK\3\4" + struct.pack("<5H3I2H", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    rest = size - 46 - len(name)  # a comment that makes the tables equally long
    other = b"PK\1\2" + struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, rest, 0, 0, 0,
                                    begin - size) + name + b" " * rest
    last = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, entries, entries, size, begin + len(file), 0)
    return raw[:begin] + file + raw[begin:begin + size] + other + last


@pytest.mark.filterwarnings("ignore")
def test_torchscript_that_only_pytorch_sees(tmp_path, capfd):
    path = tmp_path / "model.pt"
    torch.jit.script(Program()).save(str(path))
    path.write_bytes(two_tables_of_contents(path.read_bytes()))
    torch.jit.load(str(path))
    assert "the program ran" in capfd.readouterr().out and zipfile.ZipFile(path).namelist() == ["archive/x"]
    assert torch_archive.is_torchscript(path) and torchtools._is_program(str(path))
    for name, read in READERS.items():
        with pytest.raises((InputError, OSError), match="model.pt") as caught:
            read(path)
        assert "is a program (TorchScript)" in str(caught.value) or name in ("weights", "backbone")
    assert "the program ran" not in capfd.readouterr().out


def test_open_clip_unpickles_nothing(trap, tmp_path, monkeypatch):
    """Where PyTorch's reader of data stumbles by a TypeError open_clip reads the file once more, until 2.5 as it is."""
    path, load = tmp_path / "model.bin", torch.load
    stumble = b"\x80\x02ccollections\nOrderedDict\n)RN}X\x01\0\0\0aK\x01s\x86b0"
    torch.save({"x": torch.zeros(1)}, tmp_path / "base.pt")
    with zipfile.ZipFile(tmp_path / "base.pt") as base, zipfile.ZipFile(path, "w") as bait:
        for name in base.namelist():
            harm = stumble + pickle.dumps(baits(trap)["os.mkdir"], 2)[2:]
            bait.writestr(name, harm if name.endswith("data.pkl") else base.read(name))

    def old_load(file, map_location=None, *, weights_only=False, **others):
        return load(file, map_location=map_location, weights_only=weights_only, **others)

    monkeypatch.setattr(torch, "load", old_load)
    monkeypatch.setattr(weights, "locate", lambda name: path)
    with contextlib.suppress(AttributeError):
        open_clip.factory.load_state_dict(str(path))
    assert trap.exists()
    trap.rmdir()
    with pytest.raises(InputError, match=r"model.bin cannot be read as CLIP weights"):
        load_clip("ViT-B-32:laion2b_s34b_b79k")


CLIP_PARTS = {"ln_final.weight": torch.zeros(64), "positional_embedding": torch.zeros(77, 64),
              "token_embedding.weight": torch.zeros(2, 64), "visual.proj": torch.zeros(64, 64)}


@pytest.mark.parametrize("part, value", [
    ("token_ids", torch.tensor([10 ** 8, 1])), ("token_ids", torch.tensor(float("nan"))),
    ("ln_final.weight", torch.tensor(1.0)), ("ln_final.weight", torch.zeros(200)), ("transformer.resblocks.", None),
    ("visual.conv1.weight", torch.zeros(3))])
def test_weights_of_odd_shapes(part, value, tmp_path):
    state = CLIP_PARTS | {part: torch.zeros(1) if value is None else value}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w.safetensors: these are not the weights of a CLIP \(trouble with"):
        load_clip(str(tmp_path / "w.safetensors"))


EPOCHS = {"path": "/../../../evil", "absolute": "//tmp/evil", "bool": True, "below 0": -1, "float": 1.0,
          "long": 10 ** 4000, "tensor": torch.tensor(1), "none": None}


@pytest.mark.parametrize("epoch", EPOCHS)
def test_the_epoch_of_a_checkpoint_is_no_path(epoch, tmp_path, capsys):
    """It becomes the end of the name under which ``export --published`` writes."""
    (tmp_path / "run/prompt_learner").mkdir(parents=True)
    torch.save({"state_dict": {"ctx": torch.zeros(4, 8)}, "epoch": EPOCHS[epoch], "trainer": "CoOp"},
               tmp_path / "run/prompt_learner/model.pth.tar-1")
    before = sorted(tmp_path.rglob("*"))
    assert export.main([str(tmp_path / "run"), str(tmp_path / "a/b/c"), "--published"]) == 2
    error = capsys.readouterr().err
    assert "model.pth.tar-1" in error and "epoch" in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before and not os.path.exists("/tmp/evil")


def test_names_in_a_state_dict_that_are_no_words(tmp_path):
    torch.save({"state_dict": {"ctx": torch.zeros(4, 8), 5: torch.zeros(1)}, "epoch": 1}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="model.pt holds no state_dict"):
        checkpoint.read_prompts(tmp_path / "model.pt")


# ---------------------------------------------------------------- images

@pytest.mark.parametrize("read", [images.read_image, tools.read_image, lambda path: pairs.picture("/", path)],
                         ids=["ours", "minidassl", "a corpus's"])
def test_no_image_starts_a_program(read, tmp_path, monkeypatch):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\necho x >> {tmp_path}/ran\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with contextlib.suppress(OSError), Image.open(path) as image:
        image.load()
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    with pytest.raises((OSError, pairs.Bad), match="cannot identify image file") as caught:
        read(str(path))
    assert "\n" not in str(caught.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("ending", IMAGE_ENDINGS)
def test_images_of_datasets_are_read(ending, tmp_path):
    Image.new("RGB", (8, 8), (200, 9, 9)).save(tmp_path / f"a{ending}")
    for read in (images.read_image, tools.read_image):
        assert abs(read(str(tmp_path / f"a{ending}")).getpixel((4, 4))[0] - 200) < 9


def test_images_of_several_pictures_are_read(tmp_path):
    one = Image.new("RGB", (8, 8))
    one.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[one])
    assert images.read_image(str(tmp_path / "a.jpg")).size == tools.read_image(str(tmp_path / "a.jpg")).size == (8, 8)


# ---------------------------------------------------------------- corpora

def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


PLACES = {"/dev/zero": "no regular file", "pipe": "no regular file", "folder": "no regular file",
          "\0": "cannot be read", "hole": "more than 100 MB", ("a.png", -1, 1): "ends before",
          ("a.png", 0, 1 << 40): "ends before", ("a.png", 0, -1): "ends before", ("a.png", 2, 2): "ends before",
          ("a.png", "0", 1): "cannot be read", ("a.png",): "cannot be read"}


@pytest.mark.parametrize("place", PLACES)
def test_pairs_that_never_end(place, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").write_bytes(b"abc")
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(100_000_001)
    with pytest.raises(pairs.Bad, match=PLACES[place]) as caught:
        pairs.picture(tmp_path, place)
    assert "\n" not in str(caught.value)
    assert pairs.fetch(tmp_path, ["a.png", 1, 2]) == b"bc" and pairs.fetch(tmp_path, "a.png") == b"abc"


SHARDS = {"backwards": header("a.png", 0) + header("a.txt", -512) + bytes(1024),
          "a terabyte of name": header("a", 1 << 40, tarfile.GNUTYPE_LONGNAME) + bytes(512),
          "a name below 0": header("a", -512, tarfile.GNUTYPE_LONGNAME) + bytes(512),
          "names of names": (header("a", 512, tarfile.GNUTYPE_LONGNAME) + bytes(512)) * 3000,
          "beyond the numbers": header("a.png", 1 << 70) + bytes(512)}


@pytest.mark.parametrize("shard", SHARDS)
def test_shards_that_lie(shard, tmp_path):
    (tmp_path / "a.tar").write_bytes(SHARDS[shard])
    *_, last = itertools.islice(pairs.Corpus(tmp_path / "a.tar"), 9)
    assert "the shard is damaged" in last.fault and "\n" not in last.fault


# ---------------------------------------------------------------- few-shot caches

SPLITS = Splits([Item("a/0.jpg", 0, "a")], [Item("a/1.jpg", 0, "a")], [])


@pytest.mark.parametrize("where", ["whole", "train", "entry"])
@pytest.mark.parametrize("bait", BAITS)
def test_few_shot_cache(bait, where, trap, tmp_path):
    harm = baits(trap)[bait]
    spring(trap, pickle.dumps(harm))
    content = {"whole": harm, "train": {"train": [harm]}, "entry": {"train": [{"_impath": harm, "_label": 0}]}}[where]
    path = tmp_path / "shot_1-seed_1.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"shot_1-seed_1.pkl: refused, .* delete it"):
        few_shot(SPLITS, 1, 1, str(tmp_path))


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../x.jpg"])
def test_few_shot_cache_that_leads_out(path, tmp_path):
    (tmp_path / "shot_1-seed_1.json").write_text(json.dumps({"train": [[path, 0, "a"]]}))
    with pytest.raises(InputError, match="leads out of the dataset's folder"):
        few_shot(SPLITS, 1, 1, str(tmp_path))


# ---------------------------------------------------------------- archives

def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


def zip_link(name, target):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        bundle.writestr(info, target)
    return out.getvalue()


@pytest.mark.parametrize("kind, entries, reason", [
    ("tar.gz", [("images/a/1.jpg", b""), ("../evil", b"x")], "'../evil' leads out of the folder"),
    ("tar.gz", [("images/../../evil", b"x")], "leads out of the folder"),
    ("tar", [("/tmp/evil", b"x")], "'/tmp/evil' leads out of the folder"),
    ("zip", [("../evil", b"x")], "leads out of the folder"),
    ("zip", [("images/..\\..\\evil", b"x")], "leads out of the folder"),
    ("zip", [("/tmp/evil", b"x")], "leads out of the folder"),
    ("zip", [("C:/evil", b"x")], "leads out of the folder"),
    ("tar.gz", [link("images", "/etc", tarfile.SYMTYPE), ("images/evil", b"x")], "is a link"),
    ("tar.gz", [link("images/up", "..", tarfile.SYMTYPE)], "is a link"),
    ("tar.gz", [link("images/passwd", "/etc/passwd", tarfile.LNKTYPE)], "is a link"),
    ("tar.gz", [link("images/pipe", "", tarfile.FIFOTYPE)], "is a device"),
    ("tar", [link("images/null", "", tarfile.CHRTYPE)], "is a device"),
    ("zip link", zip_link("images", "/etc"), "is a link"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_archive(kind, entries, reason, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(entries if isinstance(entries, bytes) else pack(kind, entries))
    with pytest.raises(InputError, match=r"a.bin: its entry .*") as caught:
        unpack(str(path), str(tmp_path / "deep" / "er"))
    assert reason in str(caught.value)
    assert [p.name for p in tmp_path.rglob("*")] in (["a.bin", "deep"], ["deep", "a.bin"])
    assert not os.path.exists("/tmp/evil")


# ---------------------------------------------------------------- links where something is to be written

def lock_data(place):
    with atomic.exclusive_lock(place.parent / ".lock"):
        pass


def sweep(place):
    job = SimpleNamespace(slug="x", name="x", finished=False, steps=[SimpleNamespace(folders=[])])
    pool = Pool([job], SweepState(place.parents[2]), 1)
    pool.begin_job(pool.workers[0], job)
    assert pool.states == {"x": "failed"}
    raise InputError(*pool.failures["x"]["lines"])


LINKS = {"data/.promptreg/.lock": lock_data, "out/.sweep/locks/x.lock": sweep, "out/.sweep/console/x.txt": sweep,
         "run/log.txt": lambda place: Log(io.StringIO()).open(place.parent),
         "store/new.zip.part": lambda place: _receive(io.BytesIO(b"harm"), str(place), 0, 4),
         "store/continued.zip.part": lambda place: _receive(io.BytesIO(b"harm"), str(place), 4, 8)}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_written_through_a_link(name, there, tmp_path):
    victim, place = tmp_path / "victim", tmp_path / "real" / name
    place.parent.mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "real")  # a folder may be one
    place.symlink_to(victim)
    if there:
        victim.write_text("mine")
    with pytest.raises(InputError, match=rf"way/{name} is a link: it is not written through; remove it$"):
        LINKS[name](tmp_path / "way" / name)
    assert victim.read_text() == "mine" if there else not victim.exists()


def test_locks_leave_what_is_in_the_file(tmp_path):
    for place in (tmp_path / ".lock", tmp_path / ".sweep/locks/x.lock"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("mine")
    lock_data(tmp_path / ".lock")
    SweepState(tmp_path).lock(SimpleNamespace(slug="x")).close()
    assert (tmp_path / ".lock").read_text() == place.read_text() == "mine"


def test_a_link_for_a_log_is_refused_in_a_line(tmp_path, capsys):
    @cli_errors
    def command(argv):
        Log(io.StringIO()).open(tmp_path)
    (tmp_path / "log.txt").symlink_to(tmp_path / "elsewhere")
    assert command() == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/log.txt is a link: it is not written through; remove it\n"


# ---------------------------------------------------------------- YAML

def wicked_yaml(trap):
    return f"OUTPUT_DIR: !!python/object/apply:os.mkdir [{str(trap)!r}]\n"


def test_config_file(trap, tmp_path):
    text = wicked_yaml(trap)
    yaml.unsafe_load(text)
    trap.rmdir()
    for name, flags in (("a.yaml", "config_file"), ("a.yml", "dataset_config_file")):
        (tmp_path / name).write_text(text)
        args = argparse.Namespace(**{"config_file": "", "dataset_config_file": "", flags: str(tmp_path / name)},
                                  opts=[], no_cache=False)
        with pytest.raises(InputError, match=rf"{name}: it is not a config in YAML .*python/object/apply:os.mkdir"):
            setup_cfg(args)


def test_config_file_in_python(trap, tmp_path):
    """yacs would run it."""
    (tmp_path / "a.py").write_text(f"import os\nos.mkdir({str(trap)!r})\ncfg = {{}}\n")
    args = argparse.Namespace(config_file=str(tmp_path / "a.py"), dataset_config_file="", opts=[], no_cache=False)
    with pytest.raises(InputError, match="is not a .yaml file"):
        setup_cfg(args)


def test_config_in_a_checkpoint_or_a_result(trap, tmp_path):
    path = tmp_path / "run" / "model.pth"
    path.parent.mkdir()
    torch.save({"state_dict": {"ctx": torch.zeros(4, 64)}, "epoch": 1, "trainer": "CoOp", "classnames": ["a"],
                "config": wicked_yaml(trap)}, path)
    with pytest.raises(InputError, match="its config cannot be used"):
        prompted_clip.PromptedCLIP.from_checkpoint(path)
    assert nearest_words.main([str(path), "1"]) == 2
    (path.parent / "result.json").write_text(json.dumps({"config": wicked_yaml(trap), "results": {}}))
    with pytest.raises(InputError, match="is not a whole result"):
        result.read_result(path.parent)


# ---------------------------------------------------------------- JSON

def hold(folder):
    with lock.held(folder):
        pass


JSON = {"run.lock": (hold, "cannot be read as a lock"), "result.json": (result.read_result, "is not a whole result"),
        "run/result.json": (lambda folder: read_run(folder / "run"), "is not a whole result"),
        "split.json": (lambda folder: read_split_file(str(folder / "split.json"), "mend it"), "not valid JSON"),
        ".promptreg/manifest.json": (prepare.Manifest, "not valid JSON")}


@pytest.mark.parametrize("name", JSON)
def test_json_that_is_too_deep(name, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("[" * 100_000)
    read, words = JSON[name]
    with pytest.raises(PromptRegError, match=words) as caught:
        read(tmp_path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- names in commands, paths and pages

def test_names_are_no_paths_and_no_commands(tmp_path, monkeypatch):
    """A run whose class names lead elsewhere leaves nothing but in its folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTREG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dassl.utils.collect_env_info", lambda: "")
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (8, 8), (number, 9, 9)).save(tmp_path / "data" / name / f"{number}.png")
    names = {"a": "../../../../evil", "b": f"$(mkdir evil) `mkdir evil`; mkdir {tmp_path}/evil"}
    (tmp_path / "data" / "classnames.json").write_text(json.dumps(names))
    assert main(["--root", "data", "--output-dir", "out", "--seed", "1", "--trainer", "ProGrad", "--config-file",
                 f"{ROOT}/configs/trainers/ProGrad/demo.yaml", "--dataset-config-file",
                 f"{ROOT}/configs/datasets/image_folder.yaml", "DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1",
                 "USE_CUDA", "False"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "data", "out"]
    assert not list(tmp_path.rglob("*evil*")) and not (tmp_path.parent / "evil").exists()
    per_class = result.read_result(tmp_path / "out")["results"]["test"]["per_class"]
    assert set(per_class) == set(names.values())


def test_words_for_scripts_are_not_run(trap):
    """The sweep hands them to bash in the environment, where nothing takes them for a command."""
    harm = f"$(mkdir {trap}) `mkdir {trap}`; mkdir {trap}"
    job, *_ = plan(["CoOp"], "few_shot", ["digits"], [1], [1], {"OPTS": f"A.B {harm}", "OUTPUT": harm, "CFG": harm})
    command = job.steps[0].commands[0]
    assert "$(mkdir" in command and any(harm in word for word in command)


def test_report(tmp_path):
    put(tmp_path / QUOTE.replace("/", "") / "seed1")
    put(tmp_path / "zero" / "seed1", trainer="ZeroshotCLIP")
    runs = collect([tmp_path])
    Page(report.page(runs, tables(runs), [f"bash {CLOSE}"])).check(1, SCRIPT, QUOTE, CLOSE)


def test_gallery(tmp_path, monkeypatch):
    names = {"a": CLOSE, "b": QUOTE, "c": "{name} {images} %s"}
    for name in names:
        folder = tmp_path / f"{name}{QUOTE.replace('/', '')}"
        folder.mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8)).save(folder / f"{number}{QUOTE.replace('/', '')}.png")
        (folder / "0<script>.png").write_bytes(b"no image")
    folders = {f"{name}{QUOTE}".replace("/", ""): shown for name, shown in names.items()}
    (tmp_path / "classnames.json").write_text(json.dumps(folders))
    out = tmp_path / "page.html"
    assert show.main(["ImageFolder", "--root", str(tmp_path), "--shots", "5", "--out", str(out)]) == 0
    Page(out.read_text()).check(0, *names.values())
    fault = show.thumbnail(SimpleNamespace(impath=f"{tmp_path}/{SCRIPT}{QUOTE}"))["fault"]
    monkeypatch.setattr(show, "thumbnail", lambda item: {"path": QUOTE, "data": "", "fault": fault})
    assert show.main(["ImageFolder", "--root", str(tmp_path), "--shots", "5", "--out", str(out)]) == 0
    Page(out.read_text()).check(0, SCRIPT)


def test_hierarchy_page(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    tree = SimpleNamespace(members=lambda: {0: np.arange(2)}, pseudo=np.zeros(2), domain=np.zeros(2),
                           about={"options": {"least": CLOSE}}, domains=[{"pairs": 2, "agreement": 1.0, "classes": [
                               {"number": 0, "name": CLOSE, "pairs": 2, "agreement": 1.0}]}])
    features = SimpleNamespace(root=tmp_path, records=lambda rows: [(QUOTE, "0.png"), (SCRIPT, f"{SCRIPT}.png")])
    shown = Page(hierarchy_page.page(tree, features))
    shown.check(0, CLOSE, QUOTE, SCRIPT)
    assert f"at least {CLOSE}." in shown.text


TEX = r"\input{/etc/passwd} $\write18{mkdir evil}$ a_b % & # ~ ^ {"


def test_latex(tmp_path):
    put(tmp_path / "runs" / "seed1", trainer=TEX)
    text = render.latex(*tables(collect([tmp_path])))
    row = next(line for line in text.splitlines() if "etc/passwd" in line)
    assert r"\input" not in text and r"\write" not in text and r"\textbackslash{}input\{/etc/passwd\}" in row
    assert row.count("&") - row.count(r"\&") == 2 and row.count("$") == row.count(r"\$") == 2


@pytest.mark.parametrize("name", ["[/b]", "[link=file:///etc/passwd]x[/link]", "$\\frac$", "$\\undefined{$", "a|b"])
def test_names_are_not_markup_anywhere(name, tmp_path, capsys):
    """In the terminal's tables, which rich would read as markup; in the pictures, as formulas; in Markdown."""
    put(tmp_path / "runs" / "seed1", trainer=name)
    put(tmp_path / "zero" / "seed1", trainer="ZeroshotCLIP", results={"test": {
        "accuracy": 40.0, "per_class": {CLOSE: {"correct": 1, "total": 2}}}})
    assert results_main([str(tmp_path)]) == 0
    assert name in capsys.readouterr().out
    assert results_main([str(tmp_path), "--format", "markdown"]) == 0
    assert in_markdown(capsys.readouterr().out).count(name) == 1
    runs = collect([tmp_path])
    plots.write_plots(runs, tables(runs), tmp_path / "pictures")
