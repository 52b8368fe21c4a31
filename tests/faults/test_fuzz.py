"""Random bytes, cuts and flipped bits: what reads files and flags gives an answer or an error of ours, and no other."""
import argparse
import contextlib
import functools
import io
import json
import pickle
import random

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import parse_test_res
from datasets.fewshot import few_shot
from datasets.splits import Item, Splits, lines_of_json, read_split_file
from trainers.config.build import setup_cfg
from trainers.errors import InputError, PromptRegError
from trainers.meta import checkpoint as meta_checkpoint
from trainers.regulate.regulator import Regulator
from trainers.results.collect import read_run
from trainers.training import checkpoint
from trainers.training.trained import read_trained

settings.register_profile("same each time", derandomize=True, deadline=None, max_examples=150, database=None)
settings.load_profile("same each time")


# ---------------------------------------------------------------- logs

LINES = st.one_of(
    st.sampled_from(["Finish training", "Finished training", "=> result", "* accuracy:", "* accuracy: %",
                     "* accuracy: .%", "* accuracy: e%", "* accuracy: -+1%", "* accuracy: 1e999%", "* macro_f1: 3%",
                     "* accuracy: 12.5% %"]),
    st.floats(0, 100).map(lambda value: f"* accuracy: {value:.2f}%"), st.text(max_size=30))
BYTES = st.one_of(st.binary(max_size=200), st.lists(LINES, max_size=12).map(
    lambda lines: "\n".join(lines).encode("utf-8", "replace")))


@given(content=BYTES, test_log=st.booleans())
def test_log_parser(content, test_log, tmp_path_factory):
    run = tmp_path_factory.getbasetemp() / "logs" / "seed1"
    run.mkdir(parents=True, exist_ok=True)
    (run / "log.txt").write_bytes(content)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = parse_test_res.main([str(run.parent), *["--test-log"] * test_log])
    if code:
        assert code == 2 and err.getvalue().startswith("error: ") and err.getvalue().count("\n") == 1
    else:
        assert f"file: {run}/log.txt. accuracy: " in out.getvalue()


VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
                      lambda inner: st.one_of(st.lists(inner, max_size=3),
                                              st.dictionaries(st.text(max_size=8), inner, max_size=3)), max_leaves=8)
RESULT = {"results": {"test": {"accuracy": 50.0}}, "trainer": "CoOp", "dataset": "Digits", "classes": "all", "shots": 1,
          "seed": 1, "command": ["x"], "config": "A: 1"}


@given(key=st.sampled_from(list(RESULT)), value=VALUES, whole=st.booleans())
def test_result_reader(key, value, whole, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "result"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps({**RESULT, key: value} if whole else value))
    with contextlib.suppress(InputError):
        assert isinstance(read_run(folder).accuracy, float)


# ---------------------------------------------------------------- config

KEYS = ["OPTIM.LR", "OPTIM.MAX_EPOCH", "OPTIM", "SEED", "TRAINER.NAME", "TRAINER.COOP.CTX_INIT", "TRAINER.COOP",
        "TRAINER", "DATASET.NUM_SHOTS", "INPUT.SIZE", "INPUT.TRANSFORMS", "INPUT.PIXEL_STD", "OUTPUT_DIR", "USE_CUDA",
        "X.Y", "OPTIM.LR.X", "", "."]
ODD = st.sampled_from(["", "[", "]", "()", "(1,", "{}", "None", "nan", "1e999", "-0", "0x", "'", "\"\\", "\0", "é",
                       "1;2", "__import__('os')", "!!python/object:x", "[" * 500, "1" * 5000, "True", "(1, 'a')",
                       "[[1], 2]"])


def flags(**given_flags):
    return argparse.Namespace(**{"dataset_config_file": "", "config_file": "", "trainer": "CoOp", "opts": [],
                                 "no_cache": False, **given_flags})


@given(opts=st.lists(st.one_of(st.sampled_from(KEYS), ODD, st.text(max_size=12)), max_size=5))
def test_config_overrides(opts):
    with contextlib.suppress(PromptRegError):
        cfg, _ = setup_cfg(flags(opts=opts))
        assert cfg.is_frozen() and len(opts) % 2 == 0


@given(key=st.sampled_from(KEYS), value=st.one_of(ODD, st.integers().map(str), st.floats().map(str)))
def test_config_override(key, value):
    with contextlib.suppress(PromptRegError):
        assert setup_cfg(flags(opts=[key, value]))[0].is_frozen()


def nested(key, value):
    """Return YAML that sets a dotted key."""
    return yaml.safe_dump(functools.reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)).encode()


@given(content=st.one_of(st.binary(max_size=60), VALUES.map(lambda value: yaml.safe_dump(value).encode()),
                         st.builds(nested, st.sampled_from(KEYS), VALUES)))
def test_config_file(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    with contextlib.suppress(PromptRegError):
        assert setup_cfg(flags(config_file=str(path)))[0].is_frozen()


# ---------------------------------------------------------------- files that training writes

def same(one, other):
    """Whether two contents of files are equal, tensors to the bit."""
    if torch.is_tensor(one):
        return torch.is_tensor(other) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other


def damaged(whole, count, seed):
    """Yield ``count`` copies of bytes: each cut somewhere, with one to four bits flipped, or with bytes overwritten."""
    draw = random.Random(seed)
    for number in range(count):
        raw = bytearray(whole)
        if number % 3 == 0:
            raw = raw[:draw.randrange(len(raw))]
        elif number % 3 == 1:
            for _ in range(draw.randint(1, 4)):
                raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        else:
            start = draw.randrange(len(raw))
            raw[start:start + draw.randint(1, 64)] = draw.randbytes(draw.randint(1, 64))
        yield bytes(raw)


def content():
    """Return what a checkpoint holds, in small."""
    generator = torch.Generator().manual_seed(1)
    parameter = torch.nn.Parameter(torch.randn(4, 16, generator=generator))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"state_dict": {"prompt_learner.ctx": parameter.detach()}, "epoch": 3, "val_result": None,
            "optimizer": optimizer.state_dict(), "random": {"torch": torch.arange(500, dtype=torch.uint8)},
            "trainer": "CoOp", "classnames": ["cat", "dög"], "config": "OPTIM:\n  LR: 0.1\n" * 40}


def test_checkpoint_reader(tmp_path):
    """A damaged checkpoint is refused, or is read as the very same: no bit of what it holds may change unseen."""
    path = tmp_path / "model.pth.tar-3"
    checkpoint.write_checkpoint(content(), path)
    whole, true = path.read_bytes(), checkpoint.read_checkpoint(path)
    assert same(true, content())
    refused = 0
    for raw in damaged(whole, 450, 1):
        path.write_bytes(raw)
        try:
            assert same(checkpoint.read_checkpoint(path), true)
        except InputError as error:
            assert "\n" not in str(error) and "model.pth.tar-3" in str(error)
            refused += 1
    assert refused > 200


def dassls(path):
    """A checkpoint as Dassl writes it, with a scheduler object: read by the second, inert reader."""
    made = content()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    made["scheduler"] = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    torch.save(made, path)


def gram(path):
    regulator = Regulator({"prompt_learner.ctx": (4, 16)}, rank=2, seed=1)
    meta_checkpoint.write_meta(path, {"prompt_learner.ctx": torch.ones(4, 16)}, regulator, {"config": "x"})


def exported(path):
    from safetensors.torch import save_file
    save_file({"prompts.ctx": torch.ones(4, 16)}, path, {"promptreg": json.dumps({"trainer": "CoOp"})})


ITEMS = [Item(f"{label}/{n}.jpg", label, f"class {label}") for label in range(3) for n in range(6)]
SPLITS = Splits(ITEMS[::2], ITEMS[1::4], ITEMS[3::4])


def drawn(path):
    path.write_text(lines_of_json({"train": SPLITS.train[::3], "val": SPLITS.val}))


def coops(path):
    path.write_bytes(pickle.dumps({"train": [], "val": [{"_impath": "0/1.jpg", "_label": 0}]}, protocol=4))


FORMATS = {"dassl": ("model.pth.tar-3", dassls, checkpoint.read_checkpoint),
           "gram": ("meta.safetensors", gram, meta_checkpoint.read_meta),
           "export": ("x.safetensors", exported, read_trained),
           "split": ("split.json", lambda path: path.write_text(lines_of_json(SPLITS._asdict())),
                     lambda path: read_split_file(str(path), "delete it")),
           "few-shot": ("shot_1-seed_1.json", drawn, lambda path: few_shot(SPLITS, 1, 1, str(path.parent))),
           "few-shot of CoOp": ("shot_1-seed_1.pkl", coops, lambda path: few_shot(SPLITS, 1, 1, str(path.parent)))}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMATS)
def test_reader(form, tmp_path):
    """A damaged file of any kind is read or refused, in one line that names it."""
    name, write, read = FORMATS[form]
    path = tmp_path / name
    write(path)
    refused = 0
    for raw in damaged(path.read_bytes(), 150, 2):
        path.write_bytes(raw)
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error) and name in str(error)
            refused += 1
    assert refused > 60
