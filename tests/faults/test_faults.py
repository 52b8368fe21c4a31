"""Bad inputs, one after the other: what is said (one line), the exit code, and what is left on the disk.

Each case runs a command line in this process, in a folder of its own with a small dataset, and says what must come of
it. The table docs/appendix/faults.md is written from the cases, and each case is held against its row:

    PYTHONPATH=.:tests python tests/faults/test_faults.py
"""
import builtins
import contextlib
import errno
import functools
import hashlib
import importlib
import io
import json
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.paths import ROOT

import trainers  # noqa: F401  finds Dassl

TABLE = ROOT / "docs" / "appendix" / "faults.md"
CLASSES = ("cat", "cow", "dog")


# ---------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        section, given: where it stands and what was given.
        code: the exit code that must come.
        says: what must be in the line that is said.
        module, words: the command line; ``main`` of the module is called with the words.
        before: called with (Place, MonkeyPatch) to prepare what is given.
        rewrites: files, as patterns, that may change: those that are there to be replaced.
    """

    section: str
    given: str
    code: int
    says: str
    module: str
    words: tuple
    before: object = None
    rewrites: str = "(?!)"


CASES = []
SECTION = [""]


def row(given, code, says, command, before=None, rewrites="(?!)"):
    CASES.append(Case(SECTION[0], given, code, says, *command, before, rewrites))


def section(name):
    SECTION[0] = name


def train(flags="", opts="", method="CoOp"):
    """The training command on three classes with a few images each, with more flags and KEY VALUE pairs."""
    words = ["--root", "data", "--output-dir", "out", "--seed", "1", "--trainer", method,
             "--dataset-config-file", f"{ROOT}/configs/datasets/image_folder.yaml",
             "--config-file", f"{ROOT}/configs/trainers/{method}/demo.yaml", *shlex.split(flags),
             "DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "USE_CUDA", "False", *shlex.split(opts)]
    return "trainers.training.run", tuple(words)


def call(module, words=""):
    return module, tuple(shlex.split(words))


# ---------------------------------------------------------------- what a case finds on the disk


class Place:
    """A case's folder, which is also the working directory: data/ with images, and templates of finished runs."""

    made = {}  # name of a template -> its folder, once it is made

    def __init__(self, folder, templates):
        self.folder, self.templates = folder, templates
        self.data, self.out = folder / "data", folder / "out"
        draw = np.random.default_rng(5)
        for name in CLASSES:
            (self.data / name).mkdir(parents=True)
            for number in range(8):
                Image.fromarray(draw.integers(0, 256, (20, 20, 3), np.uint8)).save(self.data / name / f"{number}.png")

    def run(self, name, method="CoOp", opts="OPTIM.MAX_EPOCH 2 TRAIN.CHECKPOINT_FREQ 1", to="run"):
        """Put a finished run's folder (two epochs, both kept) to ``to``; returns it."""
        if name not in self.made:
            code, *said = invoke(*train(opts=opts, method=method))
            assert code == 0, said
            shutil.move(self.out, self.templates / name)
            self.made[name] = self.templates / name
            shutil.rmtree(self.data / "split_fewshot")
            os.unlink(next(self.data.glob("split_*.json")))
        return shutil.copytree(self.made[name], self.folder / to)

    def text(self, path, content):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def names(self, **names):
        self.text("data/classnames.json", json.dumps(names))

    def image(self, content, name="data/cat/0.png"):
        """Replace every image of a class, so that whichever is drawn is one of them."""
        for path in (self.folder / name).parent.iterdir():
            path.write_bytes(content)


def png(size=(20, 20), form="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, "gray").save(file, form)
    return file.getvalue()


def deep(kind, form):
    file = io.BytesIO()
    Image.fromarray(np.linspace(0, 1000, 400).reshape(20, 20).astype(kind)).save(file, form)
    return file.getvalue()


@functools.cache
def bomb(side):
    """Return a PNG of side x side pixels: some kilobytes that unpack to 3 bytes a pixel."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG", optimize=True)
    return file.getvalue()


DAMAGE = {"cut": "cut in half", "flipped": "with flipped bits", "empty": "of 0 bytes", "text": "that is text"}


def damage(path, how):
    """Damage a file in one of the ways in which files get damaged."""
    raw = path.read_bytes()
    flipped = bytearray(raw)
    for place in range(len(raw) // 3, len(raw), max(1, len(raw) // 9)):
        flipped[place] ^= 0x5A
    path.write_bytes({"cut": raw[:len(raw) // 2], "flipped": bytes(flipped), "empty": b"", "text": b"hello\n"}[how])


def in_run(how, epoch=2, name="CoOp", **more):
    """Return a preparation: a finished run, its checkpoint damaged."""
    def before(place, patch):
        damage(place.run(name, **more) / f"prompt_learner/model.pth.tar-{epoch}", how)
    return before


def rewritten(change, name="CoOp"):
    """Return a preparation: a finished run whose checkpoint's content went through ``change``."""
    def before(place, patch):
        import torch
        path = place.run(name) / "prompt_learner/model.pth.tar-2"
        content = torch.load(path, weights_only=True)
        torch.save(change(content) or content, path)
    return before


def weights(place, change, name="clip.safetensors"):
    """Write the demo's weights, changed, as a file of the case."""
    from safetensors.torch import load_file, save_file

    from trainers.clip.weights import DEMO
    state = load_file(DEMO)
    save_file(change(state) or state, place.folder / name)


def void(_):
    """Return None for what has been done to a thing in place."""


def split_file(content):
    """Return a preparation: a split file with that content, or damaged in that way."""
    def before(place, patch):
        from datasets.splits import read_class_folders, split_by_class, write_split_file
        path = place.data / "split_promptreg_ImageFolder-seed_1.json"
        write_split_file(path, split_by_class(read_class_folders(place.data)))
        if callable(content):
            path.write_text(content(path.read_text()))
        else:
            damage(path, content)
    return before


def kept_features(how):
    """Return a preparation: a cache of text features of its own, filled, then damaged."""
    def before(place, patch):
        patch.setenv("PROMPTREG_CACHE", str(place.folder / "cache"))
        code, *said = invoke(*train("--eval-only --output-dir first", method="ZeroshotCLIP"))
        assert code == 0, said
        shutil.rmtree(place.folder / "first")
        for path in (place.folder / "cache").iterdir():
            damage(path, how)
    return before


# ---------------------------------------------------------------- disks that fail


def _intercept(patch, folder, on_open, on_mkdir=None):
    """Have ``on_open(path, fd)`` see each file below ``folder`` that is opened for writing, whoever opens it."""
    folder, real = str(folder), {"open": builtins.open, "os": os.open, "mkdir": os.mkdir}

    def inside(path):
        return not isinstance(path, int) and os.path.abspath(os.fsdecode(path)).startswith(folder)

    def opened(file, mode="r", *args, **kwargs):
        writes = set(mode) & set("wax+") and inside(file)
        if writes:
            on_open(file, None)
        stream = real["open"](file, mode, *args, **kwargs)
        if writes:
            on_open(file, stream.fileno())
        return stream

    def os_opened(path, flags, *args, **kwargs):
        writes = flags & (os.O_WRONLY | os.O_RDWR) and inside(path)
        if writes:
            on_open(path, None)
        handle = real["os"](path, flags, *args, **kwargs)
        if writes:
            on_open(path, handle)
        return handle

    def made(path, *args, **kwargs):
        if on_mkdir and inside(path):
            on_mkdir(path)
        return real["mkdir"](path, *args, **kwargs)

    patch.setattr(builtins, "open", opened)
    patch.setattr(io, "open", opened)
    patch.setattr(os, "open", os_opened)
    patch.setattr(os, "mkdir", made)


def full(patch, folder, only=""):
    """From now on the disk is full for files below ``folder`` (whose names hold ``only``): the kernel's own ENOSPC."""
    def on_open(path, handle):
        if handle is not None and only in os.path.basename(os.fsdecode(path)):
            device = os.open("/dev/full", os.O_WRONLY)
            os.dup2(device, handle)
            os.close(device)
    _intercept(patch, folder, on_open)


def read_only(patch, folder):
    """From now on nothing can be written below ``folder``, whoever runs the tests."""
    def refuse(path, handle=None):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
    _intercept(patch, folder, refuse, refuse)


# ---------------------------------------------------------------- the table's rows

section("Flags and config files")
row("`--trainer CoOop`", 2, "did you mean CoOp?", train("--trainer CoOop"))
row("`--trainer Xyzzy`", 2, "choose one of", train("--trainer Xyzzy"))
row("no `--trainer`", 2, "--trainer (none): choose one of", train("--trainer ''"))
row("a flag that does not exist", 2, "--colour", train("--colour red"))
row("`--seed one`", 2, "--seed", train("--seed one"))
row("`--load-epoch last`", 2, "--load-epoch", train("--load-epoch last"))
row("`--seed -1` (unseeded)", 0, "Finish training", train("--seed -1"))
row("`--seed 0`", 0, "Setting fixed seed: 0", train("--seed 0"))
row("`--seed 4294967296`", 2, "SEED", train("--seed 4294967296"))
row("a config file that is not there", 2, "there is no config file none.yaml", train("--config-file none.yaml"))
row("a folder as config file", 2, "data", train("--config-file data"))
row("a config file that is not `.yaml`", 2, "is not a .yaml file", train("--config-file x.txt"),
    lambda place, patch: place.text("x.txt", "OPTIM: {}"))
row("malformed YAML", 2, "bad.yaml", train("--config-file bad.yaml"),
    lambda place, patch: place.text("bad.yaml", "OPTIM: [1, 2\nTRAIN: {"))
row("YAML that is a list", 2, "list.yaml", train("--config-file list.yaml"),
    lambda place, patch: place.text("list.yaml", "- OPTIM\n- TRAIN\n"))
row("an empty config file: no backbone, say", 2, "names no CLIP", train("--config-file empty.yaml"),
    lambda place, patch: place.text("empty.yaml", ""))
row("a config file of random bytes", 2, "noise.yaml", train("--config-file noise.yaml"),
    lambda place, patch: place.text("noise.yaml", bytes(range(256))))
row("an unknown key in a config file", 2, "key.yaml: unknown key TRAINER.COOP.N_CTXX", train("--config-file key.yaml"),
    lambda place, patch: place.text("key.yaml", "TRAINER: {COOP: {N_CTXX: 4}}"))
row("a word for a number in a config file", 2, "type.yaml: OPTIM.MAX_EPOCH is 'many'", train("--config-file type.yaml"),
    lambda place, patch: place.text("type.yaml", "OPTIM: {MAX_EPOCH: many}"))
row("an unknown key", 2, "did you mean TRAINER.COOP.N_CTX?", train(opts="TRAINER.COOP.N_CTXX 4"))
row("a key like none", 2, "unknown key FOO.BAR", train(opts="FOO.BAR 4"))
row("a section for a key", 2, "OPTIM is '4': it is a section", train(opts="OPTIM 4"))
row("a value of the wrong type", 2, "TRAINER.COOP.N_CTX is 'four': it must be of type int",
    train(opts="TRAINER.COOP.N_CTX four"))
row("a key without a value", 2, "OPTIM.LR has no value", train(opts="OPTIM.LR"))

section("Values")
row("`DATASET.NUM_SHOTS -5`", 2, "NUM_SHOTS", train(opts="DATASET.NUM_SHOTS -5"))
row("`DATASET.SUBSAMPLE_CLASSES some`", 2, "choose all, base or new", train(opts="DATASET.SUBSAMPLE_CLASSES some"))
row("`TRAINER.COOP.PREC fp8`", 2, "one of fp32, fp16, amp, bf16", train(opts="TRAINER.COOP.PREC fp8"))
row("`CLASS_TOKEN_POSITION back`", 2, "end, middle or front", train(opts="TRAINER.COOP.CLASS_TOKEN_POSITION back"))
row("`N_CTX 90`: more than the 77 tokens", 2, "CLIP reads at most 77", train(opts="TRAINER.COOP.N_CTX 90"))
row("`N_CTX 0`", 2, "N_CTX", train(opts="TRAINER.COOP.N_CTX 0"))
row("`N_CTX -1`", 2, "N_CTX", train(opts="TRAINER.COOP.N_CTX -1"))
row("`CTX_INIT` of 80 words", 2, "CLIP reads at most 77",
    train(opts=f"TRAINER.COOP.CTX_INIT '{' '.join(['snow'] * 80)}'"))
row("`CTX_INIT` with a comma (a token of its own)", 0, "Finish training",
    train(opts="TRAINER.COOP.CTX_INIT 'a photo, of'"))
row("`CTX_INIT` shorter than its context vectors", 2, "too few for 4 context vectors",
    train(opts="TRAINER.IVLP.CTX_INIT cat TRAINER.IVLP.N_CTX_TEXT 4", method="IVLP"))
row("text prompts deeper than the layers", 2, "PROMPT_DEPTH_TEXT",
    train(opts="TRAINER.IVLP.PROMPT_DEPTH_TEXT 99", method="IVLP"))
row("visual prompts deeper than the layers", 2, "PROMPT_DEPTH_VISION",
    train(opts="TRAINER.VPT.PROMPT_DEPTH_VISION 99", method="VPT"))
row("MaPLe's prompts deeper than the layers", 2, "PROMPT_DEPTH",
    train(opts="TRAINER.MAPLE.PROMPT_DEPTH 99", method="MaPLe"))
row("text prompts of depth 0", 2, "PROMPT_DEPTH_TEXT", train(opts="TRAINER.IVLP.PROMPT_DEPTH_TEXT 0", method="IVLP"))
row("`N_CTX_VISION -2`", 2, "N_CTX_VISION", train(opts="TRAINER.VPT.N_CTX_VISION -2", method="VPT"))
row("`GPA_STD 0`", 2, "GPA_STD", train(opts="TRAINER.PROMPTSRC.GPA_STD 0", method="PromptSRC"))
row("`GPA_MEAN` far from all epochs", 2, "GPA_MEAN",
    train(opts="TRAINER.PROMPTSRC.GPA_MEAN 5000 TRAINER.PROMPTSRC.GPA_STD 1",
                                                         method="PromptSRC"))
row("`OPTIM.MAX_EPOCH -1`", 2, "MAX_EPOCH", train(opts="OPTIM.MAX_EPOCH -1"))
row("`OPTIM.NAME sdg`", 2, "sgd", train(opts="OPTIM.NAME sdg"))
row("`OPTIM.LR -1`", 2, "LR", train(opts="OPTIM.LR -1."))
row("`OPTIM.LR 1e30`: the loss is not finite", 2, "lower OPTIM.LR", train(opts="OPTIM.LR 1e30 OPTIM.WARMUP_EPOCH -1 "
                                                                             "OPTIM.MAX_EPOCH 3"))
row("`OPTIM.LR_SCHEDULER cosin`", 2, "cosine", train(opts="OPTIM.LR_SCHEDULER cosin"))
row("a batch larger than the training set", 0, "Finish training", train(opts="DATALOADER.TRAIN_X.BATCH_SIZE 5000"))
row("a batch of 0", 2, "BATCH_SIZE", train(opts="DATALOADER.TRAIN_X.BATCH_SIZE 0"))
row("a test batch of -1", 2, "BATCH_SIZE", train(opts="DATALOADER.TEST.BATCH_SIZE -1"))
row("`DATALOADER.NUM_WORKERS -1`", 2, "NUM_WORKERS", train(opts="DATALOADER.NUM_WORKERS -1"))
row("`TRAIN.PRINT_FREQ 0`", 2, "PRINT_FREQ", train(opts="TRAIN.PRINT_FREQ 0"))
row("an unknown sampler", 2, "SAMPLER is 'Xyzzy'", train(opts="DATALOADER.TRAIN_X.SAMPLER Xyzzy"))
row("an unknown transform", 2, "random_flip", train("--transforms random_flop"))
row("an unknown interpolation", 2, "bicubic", train(opts="INPUT.INTERPOLATION cubic"))
row("images of another size than the backbone's", 2, "INPUT.SIZE", train(opts="INPUT.SIZE '(64, 64)'"))
row("images of size 0", 2, "INPUT.SIZE", train(opts="INPUT.SIZE '(0, 0)'"))
row("`INPUT.PIXEL_STD` of zeros", 2, "PIXEL_STD", train(opts="INPUT.PIXEL_STD '[0., 0., 0.]'"))
row("`TEST.EVALUATOR Xyzzy`", 2, "Classification", train(opts="TEST.EVALUATOR Xyzzy"))
row("`TEST.FINAL_MODEL best`", 2, "FINAL_MODEL", train(opts="TEST.FINAL_MODEL best"))
row("`TEST.SPLIT all`", 2, "TEST.SPLIT", train(opts="TEST.SPLIT all"))

section("Weights")
row("a backbone that does not exist", 2, "names no CLIP", train("--backbone ViT-B/17"))
row("an open_clip tag that does not exist", 2, "ViT-B-32 has", train("--backbone ViT-B-32:nobody"))
row("weights that are not on this machine", 2, "fetch them with", train("--backbone ViT-L/14"))
row("a file of weights that is not there", 2, "which does not exist", train("--backbone no.safetensors"))
row("a folder as a file of weights", 2, "clip.pt", train("--backbone clip.pt"),
    lambda place, patch: (place.folder / "clip.pt").mkdir())
row("weights of 0 bytes", 2, "fetch the file again", train("--backbone clip.pt"),
    lambda place, patch: place.text("clip.pt", ""))
for how in ("cut", "flipped"):
    row(f"weights {'cut in half' if how == 'cut' else 'with flipped bits in the header'}", 2, "fetch the file again",
        train("--backbone clip.safetensors"), lambda place, patch, how=how: (
            weights(place, lambda state: None),
            damage(place.folder / "clip.safetensors", "cut") if how == "cut" else place.text(
                "clip.safetensors", b"\xff" * 8 + (place.folder / "clip.safetensors").read_bytes()[8:])))
row("a web page as weights", 2, "fetch the file again", train("--backbone clip.pt"),
    lambda place, patch: place.text("clip.pt", "<html>404</html>"))
row("weights of another kind of model", 2, "not the weights of a CLIP", train("--backbone clip.safetensors"),
    lambda place, patch: weights(place, lambda state: {k: v for k, v in state.items() if "visual" not in k}))
row("weights with a NaN", 2, "not finite", train("--backbone clip.safetensors"),
    lambda place, patch: weights(place, lambda state: void(state["visual.proj"][0].fill_(float("nan")))))
row("`MODEL.INIT_WEIGHTS` that is not there", 2, "no checkpoint", train(opts="MODEL.INIT_WEIGHTS none.pth"))
row("`TRAINER.GRAM.META` that is not there", 2, "which does not exist", train(opts="TRAINER.GRAM.META none.safetensors",
                                                                            method="GRAMCoOp"))
row("`TRAINER.GRAM.META` of random bytes", 2, "meta.safetensors", train(opts="TRAINER.GRAM.META meta.safetensors",
                                                                      method="GRAMCoOp"),
    lambda place, patch: place.text("meta.safetensors", bytes(range(256)) * 9))

section("Data")
row("no `--root`", 2, "--root DATA", train("--root ''"))
row("a `--root` that is not there", 2, "nowhere", train("--root nowhere"))
row("a `--root` that is a file", 2, "file", train("--root file"), lambda place, patch: place.text("file", ""))
row("a dataset that does not exist", 2, "did you mean ImageFolder?", train(opts="DATASET.NAME ImageFolde"))
row("a dataset that is not on this machine", 2, "promptreg data fetch OxfordPets",
    train(f"--dataset-config-file {ROOT}/configs/datasets/oxford_pets.yaml"))
row("no class at all", 2, "no class folders", train(),
    lambda place, patch: [shutil.rmtree(place.data / c) for c in CLASSES])
row("a class without images", 2, "a class folder without an image", train(),
    lambda place, patch: (place.data / "bird").mkdir())
row("`train` and `val` without `test`", 2, "but no test", train(), lambda place, patch: [
    shutil.move(place.data, place.folder / "val"), shutil.copytree(place.folder / "val", place.data / "train"),
    shutil.move(place.folder / "val", place.data)])
row("the classes in a folder `images`", 2, "ImageFolder reads ROOT/CLASS/*.jpg", train(), lambda place, patch: (
    shutil.move(place.data, place.folder / "images"), shutil.move(place.folder / "images", place.data / "images")))
row("images in a folder of a class", 2, "data/cat/more: images in a folder of a class folder", train(),
    lambda place, patch: shutil.copytree(place.data / "cow", place.data / "cat" / "more"))
row("one class", 0, "one class only", train(),
    lambda place, patch: [shutil.rmtree(place.data / c) for c in CLASSES[1:]])
row("one class, `SUBSAMPLE_CLASSES new`", 2, "one class only", train(opts="DATASET.SUBSAMPLE_CLASSES new"),
    lambda place, patch: [shutil.rmtree(place.data / c) for c in CLASSES[1:]])
row("fewer images than shots", 0, "Finish training", train(opts="DATASET.NUM_SHOTS 500"))
row("one image a class: none is left to test", 2, "no images", train(),
    lambda place, patch: [path.unlink() for path in place.data.glob("*/*.png") if path.name != "0.png"])
for how in ("cut", "flipped", "empty"):
    row(f"a split file {DAMAGE[how]}", 2, "split_promptreg_ImageFolder-seed_1.json", train(), split_file(how))
row("a split file with a path out of the folder", 2, "leads out of the dataset's folder", train(),
    split_file(lambda text: text.replace("cat/", "../cat/", 1)))
row("a split file with a label for a name", 2, "not [path, label, class name]", train(),
    split_file(lambda text: text.replace('"cat"', "3", 1)))
row("a split file that names an image twice by other classes", 2, "'cat'", train(),
    split_file(lambda text: text.replace('0, "cat"', '0, "cow"', 1)))
row("a split file with an image that is gone", 2, "is missing", train(opts="DATASET.NUM_SHOTS -1"),
    lambda place, patch: (split_file(lambda text: text)(place, patch), (place.data / "cat/0.png").unlink()))
row("a few-shot cache cut in half", 2, "delete it, and the set is drawn anew", train(),
    lambda place, patch: place.text("data/split_fewshot/shot_1-seed_1.json", '{"train": [["cat/0.p'))
row("a few-shot cache of another split", 2, "is not in the dataset's split", train(),
    lambda place, patch: place.text("data/split_fewshot/shot_1-seed_1.json", '{"train": [["cat/9.png", 0, "cat"]]}'))
row("a few-shot `.pkl` of 0 bytes", 2, "refused", train(),
    lambda place, patch: place.text("data/split_fewshot/shot_1-seed_1.pkl", ""))
row("a table without the column `class`", 2, "no column 'class'", train("--root t.csv"),
    lambda place, patch: place.text("t.csv", "path,kind\ndata/cat/0.png,0\n"))
row("a table with an unknown split", 2, "split 'extra' is not train, val or test", train("--root t.csv"),
    lambda place, patch: place.text("t.csv", "path,class,split\ndata/cat/0.png,cat,extra\n"))
row("a table that names an image twice", 2, "lines 2 and 4 both name data/cat/0.png", train("--root t.csv"),
    lambda place, patch: place.text("t.csv", "path,class\ndata/cat/0.png,cat\ndata/cow/0.png,cow\ndata/cat/0.png,b\n"))
row("a table that is not text", 2, "t.csv", train("--root t.csv"),
    lambda place, patch: place.text("t.csv", b"path,class\n\xff\xfe\x00,cat\n"))
row("`classnames.json` cut in half", 2, "classnames.json", train(),
    lambda place, patch: place.text("data/classnames.json", '{"cat": "tom'))

section("Class names")
row("a class name with quotes", 0, "Finish training", train(),
    lambda place, patch: place.names(cat="the \"cat's\" `meow`"))
row("a class name with braces and percent signs", 0, "Finish training", train(),
    lambda place, patch: place.names(cat="{} {0} %s %(x)s {classname}"))
row("class names in other scripts", 0, "Finish training", train(),
    lambda place, patch: place.names(cat="кошка", cow="牛", dog="🐕 Überhund"))
row("a class name with a line break", 0, "Finish training", train(),
    lambda place, patch: place.names(cat="cat\nof two lines"))
row("a class name of 80 tokens", 2, "CLIP reads at most 77", train(),
    lambda place, patch: place.names(cat="snow " * 80))
row("an empty class name", 2, "has an empty name", train(), lambda place, patch: place.names(cat=""))
row("a class name of underscores", 2, "has an empty name", train(), lambda place, patch: place.names(cat="___"))
row("a class name of 80 tokens, frozen text", 2, "CLIP reads at most 77",
    train(method="ZeroshotCLIP", flags="--eval-only"),
    lambda place, patch: place.names(cat="snow " * 80))
row("two classes of the same name", 2, "cat and cow are both named 'cow'", train(),
    lambda place, patch: place.names(cat="cow"))

section("Images that lie")
row("an image of 0 bytes", 2, "damaged or not an image", train(), lambda place, patch: place.image(b""))
row("text named `.png`", 2, "damaged or not an image", train(), lambda place, patch: place.image(b"not an image"))
row("a PNG cut in half", 2, "damaged or not an image", train(), lambda place, patch: place.image(png((400, 400))[:300]))
row("a JPEG cut in half", 2, "damaged or not an image", train(),
    lambda place, patch: place.image(png((400, 400), "JPEG")[:900]))
row("a JPEG named `.png`", 0, "Finish training", train(), lambda place, patch: place.image(png(form="JPEG")))
row("a bomb: 100 megapixels in 13 kB", 2, "pixels", train(), lambda place, patch: place.image(bomb(10_000)))
row("a bomb: 400 megapixels", 2, "pixels", train(), lambda place, patch: place.image(bomb(20_000)))
row("a 16-bit PNG", 0, "Finish training", train(), lambda place, patch: place.image(deep(np.uint16, "PNG")))
row("a floating-point image", 2, "convert it to 8 bits", train(),
    lambda place, patch: place.image(deep(np.float32, "TIFF")))
row("folders named `0.png` and so on", 2, "is missing", train(),
    lambda place, patch: [(path.unlink(), path.mkdir()) for path in list((place.data / "cat").iterdir())])

section("Output folder and disk")
row("an output folder that is a file", 2, "out", train(), lambda place, patch: place.text("out", "mine"))
row("an output folder below a file", 2, "file", train("--output-dir file/out"),
    lambda place, patch: place.text("file", "mine"))
row("an output folder on a read-only disk", 3, "Read-only file system", train(),
    lambda place, patch: read_only(patch, place.out))
row("a finished run, the same config", 0, "not run again", train(opts="OPTIM.MAX_EPOCH 2 TRAIN.CHECKPOINT_FREQ 1"),
    lambda place, patch: place.run("CoOp", to="out"))
row("a finished run, another config", 2, "OPTIM.MAX_EPOCH is 2 there, 1 here", train(opts="TRAIN.CHECKPOINT_FREQ 1"),
    lambda place, patch: place.run("CoOp", to="out"))
for how in ("cut", "text"):
    row(f"a finished run's `result.json` {DAMAGE[how]}", 2, "result.json", train(),
        lambda place, patch, how=how: damage(place.run("CoOp", to="out") / "result.json", how))
row("a `result.json` without the config", 2, "result.json", train(),
    lambda place, patch: place.text("out/result.json", "{}"))
row("`log.txt` that is a folder", 2, "log.txt", train(),
    lambda place, patch: (place.out / "log.txt").mkdir(parents=True))
row("a disk that is full from the start", 3, "No space left on device", train(),
    lambda place, patch: full(patch, place.out))
row("a disk that is full at the first checkpoint", 3, "No space left on device", train(),
    lambda place, patch: full(patch, place.out, "model.pth"))
row("a disk that is full at the result", 3, "No space left on device", train(),
    lambda place, patch: full(patch, place.out, "result.json"))
row("images that do not fit the memory", 3, "memory is full: lower DATALOADER.TRAIN_X.BATCH_SIZE", train(),
    lambda place, patch: patch.setattr("trainers.base.PromptMethod.image_features",
                                       lambda *_: torch.empty(1 << 55)))  # what torch says of it is its own
row("a data folder on a full disk", 0, "cannot be saved", train(), lambda place, patch: full(patch, place.data))
row("a data folder that is read-only", 0, "cannot be saved", train(), lambda place, patch: read_only(patch, place.data))
row("a full disk for the digits' images", 2, "cannot write",
    train(f"--root digits --dataset-config-file {ROOT}/configs/datasets/digits.yaml"),
    lambda place, patch: ((place.folder / "digits").mkdir(), full(patch, place.folder / "digits")))
for how in ("cut", "flipped", "empty"):
    row(f"kept text features {DAMAGE[how]}", 0, "computing it again",
        train("--eval-only", method="ZeroshotCLIP"), kept_features(how), rewrites="cache/.*")
row("a cache folder that is a file", 0, "not kept", train("--eval-only", method="ZeroshotCLIP"),
    lambda place, patch: (place.text("cache", "mine"), patch.setenv("PROMPTREG_CACHE", str(place.folder / "cache"))))

section("Checkpoints")
TEST = "--eval-only --model-dir run --load-epoch 2"
row("`--eval-only` without `--model-dir`", 0, "the prompts stay as they started", train("--eval-only"))
row("a `--model-dir` that is not there", 2, "there is no checkpoint of epoch 2 in run", train(TEST))
row("a `--load-epoch` that was not trained", 2, "there are run/prompt_learner/model.pth.tar-1",
    train("--eval-only --model-dir run --load-epoch 50"), lambda place, patch: place.run("CoOp"))
row("a `--load-epoch` of -1", 2, "there is no checkpoint of epoch -1 in run: there are",
    train("--eval-only --model-dir run --load-epoch -1"),
    lambda place, patch: place.run("CoOp"))
for how in DAMAGE:
    row(f"a checkpoint {DAMAGE[how]}", 2, "cannot be read as a checkpoint", train(TEST), in_run(how))
row("a checkpoint with a NaN", 2, "not finite", train(TEST),
    rewritten(lambda content: void(content["state_dict"]["prompt_learner.ctx"][0].fill_(float("nan")))))
row("a checkpoint that is a list", 2, "holds no state_dict", train(TEST), rewritten(lambda content: [1, 2]))
row("a checkpoint whose prompts are numbers", 2, "model.pth.tar-2", train(TEST),
    rewritten(lambda content: content["state_dict"].update({"prompt_learner.ctx": 3})))
row("a checkpoint of another context length", 2, "is [4, 64] there and [2, 64] here",
    train(TEST, "TRAINER.COOP.N_CTX 2"),
    lambda place, patch: place.run("CoOp"))
row("a checkpoint of another method", 2, "written by another method", train(TEST, method="VPT"),
    lambda place, patch: place.run("CoOp"))
AGAIN = "OPTIM.MAX_EPOCH 2 TRAIN.CHECKPOINT_FREQ 1"


def stopped(how=None):
    """Return a preparation: a run that was stopped before its result, its last checkpoint damaged."""
    def before(place, patch):
        folder = place.run("CoOp", to="out")
        (folder / "result.json").unlink()
        if how:
            damage(folder / "prompt_learner/model.pth.tar-2", how)
    return before


row("a stopped run", 0, "Resumed from", train(opts=AGAIN), stopped(), rewrites="out/.*")
for how in ("cut", "flipped"):
    row(f"a stopped run, its last checkpoint {DAMAGE[how]}", 0, "resuming from the one before", train(opts=AGAIN),
        stopped(how), rewrites="out/.*")
row("a stopped run, another learning rate", 2, "OPTIM.LR is 0.002 there, 0.3 here",
    train(opts=f"{AGAIN} OPTIM.LR 0.3"), stopped())
row("an output folder that another run holds", 3, "is in use by process", train(),
    lambda place, patch: occupied(place, patch))


def occupied(place, patch):
    """Hold the output folder, as this very process, which is alive."""
    from trainers.utils import lock
    holder = lock.held(place.out)
    holder.__enter__()
    patch.setattr("trainers.utils.lock.TESTED", holder, raising=False)  # kept until the case is over, then let go


section("Reading results")
RESULT = json.dumps({"results": {"test": {"accuracy": 50.0}}, "trainer": "CoOp", "dataset": "Digits", "classes": "all",
                     "shots": 1, "seed": 1})
row("`parse_test_res` without a folder", 2, "directory", call("parse_test_res"))
row("`parse_test_res` of a folder that is not there", 2, "is not a folder", call("parse_test_res", "none"))
row("`parse_test_res` of a folder without runs", 2, "it holds no folders of runs", call("parse_test_res", "data/cat"))
row("`parse_test_res` of a log without a result", 2, 'has no line "Finish training"', call("parse_test_res", "runs"),
    lambda place, patch: place.text("runs/seed1/log.txt", "epoch [1/2] loss 3\n"))
row("`parse_test_res` of a log of random bytes", 2, 'has no line "Finish training"', call("parse_test_res", "runs"),
    lambda place, patch: place.text("runs/seed1/log.txt", bytes(range(256)) * 99))
row("`parse_test_res` of a figure that is none", 2, "holds no accuracy", call("parse_test_res", "runs"),
    lambda place, patch: place.text("runs/seed1/log.txt", "Finish training\n* accuracy: 1.2.3%\n"))
row("`parse_test_res` of a cut `result.json`", 2, "not a whole result", call("parse_test_res", "runs"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT[:40]))
row("`parse_test_res` of an unknown keyword", 2, "holds no recall", call("parse_test_res", "runs --keyword recall"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT))
row("`results` of a folder that is not there", 2, "there is no folder none", call("trainers.cli.results", "none"))
row("`results` of a folder without runs", 2, "there is no finished run", call("trainers.cli.results", "data"))
row("`results` of a cut `result.json`", 2, "is not a whole result", call("trainers.cli.results", "runs"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT[:40]))
row("`results` of a `result.json` that is a list", 2, "is not a whole result",
    call("trainers.cli.results", "runs"),
    lambda place, patch: place.text("runs/seed1/result.json", "[1, 2]"))
row("`results` of an accuracy that is text", 2, "is not a whole result", call("trainers.cli.results", "runs"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT.replace("50.0", '"high"')))
for given, old, new in (("of NaN", "50.0", "NaN"), ("above 100", "50.0", "250"), ("that is true", "50.0", "true")):
    row(f"`results` of an accuracy {given}", 2, "accuracy is", call("trainers.cli.results", "runs"),
        lambda place, patch, old=old, new=new: place.text("runs/seed1/result.json", RESULT.replace(old, new)))
row("`results` of unknown classes", 2, "classes is 'foo'", call("trainers.cli.results", "runs --html page.html"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT.replace("all", "foo")))
row("`results --compare` with a file that is not there", 2, "none.csv",
    call("trainers.cli.results", "runs --compare none.csv"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT))
row("`results --html` on a full disk", 3, "No space left on device",
    call("trainers.cli.results", "runs --html page/x.html"),
    lambda place, patch: (place.text("runs/seed1/result.json", RESULT), full(patch, place.folder / "page")))
row("`results --paired` with a method that has no runs", 2, "Xyzzy",
    call("trainers.cli.results", "runs --paired CoOp Xyzzy"),
    lambda place, patch: place.text("runs/seed1/result.json", RESULT))

section("Other commands")
row("`promptreg frobnicate`", 2, "choose from fit, classify, train", call("trainers.cli", "frobnicate"))
row("`promptreg init` into a folder that is not there", 2, "none is not a folder", call("trainers.cli", "init none"))
row("`sweep` of an unknown method", 2, "did you mean ProGrad?",
    call("trainers.cli.sweep", "--methods ProGard --setting base2new"))
row("`sweep` of an unknown dataset", 2, "did you mean digits?",
    call("trainers.cli.sweep", "--methods CoOp --setting base2new --datasets digit"))
row("`sweep` of an unknown setting", 2, "--setting", call("trainers.cli.sweep", "--methods CoOp --setting xyz"))
row("`sweep --jobs 0`", 2, "--jobs 0: give 1 or more",
    call("trainers.cli.sweep", "--methods CoOp --setting xd --jobs 0"))
row("`prepare` of an unknown dataset", 2, "did you mean ImageFolder?",
    call("datasets.prepare", "ImageFolde --root data"))
row("`prepare --check` without the dataset", 2, "no folder", call("datasets.prepare", "OxfordPets --check --root data"))
row("`prepare` below a file", 2, "Not a directory", call("datasets.prepare", "OxfordPets --root file/data"),
    lambda place, patch: place.text("file", "mine"))
row("`show` of an unknown dataset", 2, "did you mean Digits?", call("datasets.show", "Digit --root data"))
row("`show --seed 4294967296`", 2, "--seed 4294967296", call("datasets.show", "Digits --root data --seed 4294967296"))
row("`cli.weights` of an unknown name", 2, "names no CLIP", call("trainers.cli.weights", "ViT-B/17"))
row("`lpclip` without data", 2, "nowhere", ("trainers.cli.linear_probe", train("--root nowhere --trainer ''")[1]))
row("`interpret` of a checkpoint that is not there", 2, "none is not there",
    call("trainers.cli.nearest_words", "none 3"))
row("`interpret` of a folder without a run", 2, "data", call("trainers.cli.nearest_words", "data 3"))
row("`interpret` for more words than there are", 2, "TOPK is 60000", call("trainers.cli.nearest_words",
    "run/prompt_learner/model.pth.tar-2 60000"), lambda place, patch: place.run("CoOp"))
row("`interpret` of a cut checkpoint", 2, "cannot be read as a checkpoint",
    call("trainers.cli.nearest_words", "run/prompt_learner/model.pth.tar-2 3"), in_run("cut"))
row("`interpret` for 0 words", 2, "at least 1 word",
    call("trainers.cli.nearest_words", "run/prompt_learner/model.pth.tar-2 0"),
    lambda place, patch: place.run("CoOp"))
row("`interpret` with another backbone", 2, "correct --backbone",
    call("trainers.cli.nearest_words", "run/prompt_learner/model.pth.tar-2 3 --backbone tiny_wide.safetensors"),
    lambda place, patch: (place.run("CoOp"),
                          importlib.import_module("support.reference").weights_file("wide", place.folder)))
row("`export` to a file of no known kind", 2, ".safetensors or .onnx", call("trainers.cli.export", "run x.pt"))
row("`export` of a run that is not there", 2, "run", call("trainers.cli.export", "run x.safetensors"))
row("`export` of a cut checkpoint", 2, "cannot be read as a checkpoint",
    call("trainers.cli.export", "run/prompt_learner/model.pth.tar-2 x.safetensors"), in_run("cut"))
row("`export --published` into the run's own folder", 2, "give another folder",
    call("trainers.cli.export", "run run --published"), lambda place, patch: place.run("CoOp"))
row("`export --published` of an exported file", 2, "is an exported file already",
    call("trainers.cli.export", "x.safetensors there --published"),
    lambda place, patch: (place.run("CoOp"), invoke(*call("trainers.cli.export", "run x.safetensors"))))
row("`export` on a full disk", 3, "No space left on device", call("trainers.cli.export", "run there/x.safetensors"),
    lambda place, patch: (place.run("CoOp"), full(patch, place.folder, "x.safetensors")))
row("`load` with an image that is not there", 2, "there is no such image",
    call("trainers.cli.classify", "run none.png"), lambda place, patch: place.run("CoOp"))
row("`load` with an image of 0 bytes", 2, "cannot be read as an image", call("trainers.cli.classify", "run x.png"),
    lambda place, patch: (place.run("CoOp"), place.text("x.png", "")))
row("`load` with an exported file cut in half", 2, "export it again",
    call("trainers.cli.classify", "x.safetensors data/cat/0.png"),
    lambda place, patch: (place.run("CoOp"), invoke(*call("trainers.cli.export", "run x.safetensors")),
                          damage(place.folder / "x.safetensors", "cut")))
row("`load` with a config that is not one", 2, "its config cannot be used",
    call("trainers.cli.classify", "run/prompt_learner/model.pth.tar-2 data/cat/0.png"),
    rewritten(lambda content: content.update(config="]: nonsense")))
row("`load` with a file of class names that is not there", 2, "there is no such file",
    call("trainers.cli.classify", "run data/cat/0.png --classnames nofile.txt"), lambda place, patch: place.run("CoOp"))
row("`load` with an empty file of class names", 2, "no names in it",
    call("trainers.cli.classify", "run data/cat/0.png --classnames /dev/null"), lambda place, patch: place.run("CoOp"))
row("`load` with class names that are not UTF-8", 2, "not a text in UTF-8",
    call("trainers.cli.classify", "run data/cat/0.png --classnames names.txt"),
    lambda place, patch: (place.run("CoOp"), place.text("names.txt", b"caf\xe9\n")))
row("`load --top 0`", 2, "--top", call("trainers.cli.classify", "run data/cat/0.png --top 0"),
    lambda place, patch: place.run("CoOp"))
row("GRAM's meta-training without its corpus", 2, "none.tsv",
    train(f"--config-file {ROOT}/configs/trainers/GRAM/demo.yaml", "TRAINER.GRAM.CORPUS none.tsv", method="GRAM"))


# ---------------------------------------------------------------- running a case


def invoke(module, words):
    """Call a command line in this process; returns (exit code, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)  # what the root logger would print on standard error
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    log = logging.getLogger("promptreg")
    log.addHandler(handler)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = importlib.import_module(module).main(list(words))
    except SystemExit as stop:
        code = stop.code
    finally:
        log.removeHandler(handler)
    return code, out.getvalue(), err.getvalue()


def listing(folder):
    """Return {path: digest} of all below ``folder``; of a folder, None."""
    return {str(path.relative_to(folder)): hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else None
            for path in sorted(folder.rglob("*"))}


def left(before, after):
    """Return in words what is on the disk that was not."""
    new = [path for path in after if path not in before]
    files = [path for path in new if after[path] is not None]
    empty = [f"{path}/" for path in new if after[path] is None and not any(f.startswith(f"{path}/") for f in files)]
    told = []
    for path, words in {"data/split_promptreg_ImageFolder-seed_1.json": "the split",
                        "data/split_fewshot/shot_1-seed_1.json": "the few-shot set"}.items():
        if path in files:
            told.append(words)
            files.remove(path)
    if "out/result.json" in files:
        told, files = [*told, "a finished run"], [f for f in files if not f.startswith("out/")]
    if sum(f.startswith("digits/digits/images/") for f in files) > 100:
        files = [f for f in files if not f.startswith("digits/digits/images/")] + ["digits/digits/images/*/*.png"]
    files = [re.sub(r"events\.out\.tfevents.*", "events.*", f) for f in files]
    files = [re.sub(r"text-[0-9a-f]{32}", "text-*", f) for f in files]
    return ", ".join(told + sorted({*files, *empty})) or "nothing"


def examine(case, folder, templates, patch):
    """Run a case in ``folder``; returns (what was said, code, what is left).

    Raises:
        AssertionError: something is not as it must be.
    """
    patch.chdir(folder)
    patch.setenv("HOME", str(templates / "home"))
    patch.setenv("PROMPTREG_CACHE", str(templates / "cache"))
    patch.setattr("dassl.utils.collect_env_info", lambda: "")  # Dassl's own asks pip, which takes longer than the rest
    place = Place(folder, templates)
    if case.before:
        case.before(place, patch)
    before = listing(folder)
    code, out, err = invoke(case.module, case.words)
    after = listing(folder)

    said = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]
    errors = [line for line in said if not line.startswith("WARNING: ")]
    assert "Traceback" not in out + err
    assert code == case.code, (code, errors)
    assert len(errors) == (case.code != 0), errors
    lines = errors or [*said, *out.splitlines()]
    line = next((line for line in lines if case.says in line), None)
    assert line, (case.says, lines[-5:])
    changed = [path for path in before if after.get(path) != before[path] and not re.fullmatch(case.rewrites, path)]
    assert not changed, changed
    temporary = [path for path in after if path not in before and re.search(r"(^|/)\.(?!lock$)|\.(part|tmp)$", path)]
    assert not temporary, temporary
    return plain(line, folder, templates), code, left(before, after)


def plain(line, folder, templates):
    """Return what was said without what differs from machine to machine and from run to run."""
    for path, name in ((f"{ROOT}/", ""), (f"{folder}/", ""), (str(folder), "."), (str(templates / "home"), "~")):
        line = line.replace(path, name)
    line = re.sub(r"text-[0-9a-f]{32}", "text-*", line)
    return re.sub(r"process \d+ on \S+ since [\d: -]+\d", "process PID on HOST since TIME", line)


# ---------------------------------------------------------------- the table


HEAD = """# Bad inputs and what becomes of them

Written by `PYTHONPATH=.:tests python tests/faults/test_faults.py`, which runs every row; the tests run them as well and
hold them against this page.
`data` is the folder of the images, `out` the output folder, `run` an earlier run's. Exit code 2 is for what the
user gave, 3 for the machine, 0 for what is legal and works. In no row is a file overwritten (but for caches that were
damaged), a temporary file left, or a traceback printed. What stands under "left" was not there before: a dataset's
split and few-shot set are drawn before the model is built, and stay. A log is there where the training had begun.
"""


def cell(text):
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def written(rows):
    """Return the page: a table a section; ``rows`` are (section, given, said, code, left)."""
    text, last = HEAD, None
    for number, (name, given, said, code, remains) in enumerate(rows, 1):
        if name != last:
            text += f"\n## {name}\n\n| | given | said | code | left |\n|---:|---|---|---:|---|\n"
        text += f"| {number} | {cell(given)} | {cell(said)} | {code} | {cell(remains)} |\n"
        last = name
    return text


def recorded():
    """Return {given: (code, left)} of the page's rows."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    rows = [re.split(r"(?<!\\)\|", line)[2:6] for line in lines]
    return {given.strip(): (int(code), remains.strip()) for given, _, code, remains in rows}


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    return tmp_path_factory.mktemp("templates")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as our module does, outside of pytest
@pytest.mark.parametrize("case", CASES, ids=lambda case: re.sub(r"\W+", "-", case.given).strip("-"))
def test_bad_input(case, tmp_path, templates, monkeypatch):
    _, code, remains = examine(case, tmp_path, templates, monkeypatch)
    assert recorded().get(cell(case.given)) == (code, cell(remains)), f"run the command that {TABLE.name} names"


def test_the_table_has_all_rows_and_no_others():
    assert list(recorded()) == [cell(case.given) for case in CASES]
    assert len(CASES) >= 60


def main():
    """Run all cases and write the table; returns 1 where one is not as it must be."""
    rows, failed = [], 0
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(CASES):
            if only and not any(word in case.given for word in only):
                continue
            place, templates = Path(folder, str(number)).resolve(), Path(folder, "templates").resolve()
            place.mkdir()
            templates.mkdir(exist_ok=True)
            with pytest.MonkeyPatch.context() as patch:
                try:
                    rows.append((case.section, case.given, *examine(case, place, templates, patch)))
                except Exception as error:
                    failed += 1
                    print(f"{number}. {case.given}: {type(error).__name__}: {error}")
    if not failed and not only:
        TABLE.write_text(written(rows), encoding="utf-8")
        print(f"{TABLE}: {len(rows)} rows")
    for found in rows if only else ():
        print(*found[1:], sep="\n    ")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
