"""Texts and numbers from strangers: configs that unfold, names that steer a terminal or leave a table, odd logs."""
import argparse
import csv
import io
import json
import logging
import re
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.bait import QUOTE, SCRIPT, in_markdown, put
from support.paths import ROOT
from yacs.config import CfgNode

import parse_test_res
from datasets import prepare
from trainers.cli import classify, gram_browse, nearest_words
from trainers.cli.results import main as results_main
from trainers.clip import load_clip
from trainers.config.build import setup_cfg
from trainers.config.yaml_text import dumped, parsed
from trainers.errors import InputError
from trainers.inference import prompted_clip
from trainers.meta import hierarchy, hierarchy_page
from trainers.results import plots, render
from trainers.sweep.worker import Worker
from trainers.training.run import check_unfinished
from trainers.utils import console

# ---------------------------------------------------------------- configs and JSON

ALIAS = "A: &a {x: 1}\nB: *a\n"
LOOP = "A: &a\n  B: *a\n"
MERGE = "A: &a {x: 1}\nB: {<<: [*a, *a]}\n"  # eleven such lines hang what reads them
DEEP = "A: " + "[" * 60 + "]" * 60 + "\n"
DEEPER = "A: " + "[" * 5000
DATE = "A: 2020-99-99\n"


@pytest.mark.parametrize("text", [ALIAS, LOOP, MERGE, DEEP, DEEPER, DATE], ids=lambda text: text[:12])
def test_config_that_unfolds(text, tmp_path):
    """A few aliases of aliases stand for gigabytes, and depth for a recursion without an end: no config has them."""
    assert parsed(text) is None and parsed("A: [{B: 1}]") == {"A": [{"B": 1}]}
    (tmp_path / "a.yaml").write_text(text)
    args = argparse.Namespace(config_file=str(tmp_path / "a.yaml"), dataset_config_file="", opts=[], no_cache=False)
    with pytest.raises(InputError, match="a.yaml: "):
        setup_cfg(args)
    torch.save({"state_dict": {"ctx": torch.zeros(4, 64)}, "epoch": 1, "trainer": "CoOp", "classnames": ["a"],
                "config": text}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="model.pth: its config cannot be used"):
        prompted_clip.PromptedCLIP.from_checkpoint(tmp_path / "model.pth")
    assert nearest_words.main([str(tmp_path / "model.pth"), "1"]) == 2


def test_what_we_write_holds_no_alias():
    same = (0, 1)
    cfg = CfgNode({"A": {"ONE": same, "OTHER": same}, "B": [1]})
    assert "*" in cfg.dump() and parsed(dumped(cfg)) == {"A": {"ONE": [0, 1], "OTHER": [0, 1]}, "B": [1]}


@pytest.mark.parametrize("value", ["-" * 100000 + "1", "1+" * 100000 + "1", "-" * 3000 + "1"], ids=lambda v: v[:3])
def test_config_value_that_unfolds(value, tmp_path):
    (tmp_path / "a.yaml").write_text(f"OUTPUT_DIR: '{value}'\n")
    for name, opts in ((str(tmp_path / "a.yaml"), []), ("", ["OUTPUT_DIR", value])):
        with pytest.raises(InputError, match="a value is nested too deeply"):
            setup_cfg(argparse.Namespace(config_file=name, dataset_config_file="", opts=opts, no_cache=False))


@pytest.mark.parametrize("config", ["A: 1", "MODEL: 1", "MODEL: {BACKBONE: {NAME: 5}}", "MODEL: {BACKBONE: 5}",
                                    "MODEL: {BACKBONE: {NAME: demo}}\nINPUT: {SIZE: x}",
                                    "MODEL: {BACKBONE: {NAME: demo}}\nTRAINER: 5",
                                    "MODEL: {BACKBONE: {NAME: demo}}\nTRAINER: {COOP: {N_CTX: x}}"])
def test_config_of_another_kind(config, tmp_path, capsys):
    torch.save({"state_dict": {"ctx": torch.zeros(4, 64)}, "epoch": 1, "trainer": "CoOp", "classnames": ["a"],
                "config": config}, tmp_path / "model.pth")
    assert classify.main([str(tmp_path / "model.pth"), "x.png"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_json_that_nests(tmp_path, capsys):
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors", {"promptreg": "[" * 100000})
    assert classify.main([str(tmp_path / "a.safetensors"), "x.png"]) == 2
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1" / "result.json").write_text("[" * 100000)
    assert parse_test_res.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("config", ["A: 1", "OPTIM: x", "OPTIM: {MAX_EPOCH: x}", "1: 2"])
def test_checkpoint_without_its_number_of_epochs(config, tmp_path):
    place = tmp_path / "prompt_learner" / "model.pth.tar-1"
    place.parent.mkdir()
    torch.save({"state_dict": {}, "epoch": 1, "random": 1, "config": config}, place)
    cfg = setup_cfg(argparse.Namespace(config_file=f"{ROOT}/configs/trainers/CoOp/demo.yaml", dataset_config_file="",
                                       trainer="CoOp", opts=["OUTPUT_DIR", str(tmp_path)], no_cache=False))[0]
    check_unfinished(cfg, eval_only=True)
    with pytest.raises(InputError, match="another config"):
        check_unfinished(cfg, eval_only=False)


# ---------------------------------------------------------------- names in the terminal and in tables

HARM = "\x1b]0;owned\x07\x1b[2J\x1b[31mcat\x9b1m\r\nerror: all is well"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x1b[31mcat\x9b1m"


def harmless(text, lines=None):
    """Whether nothing in a text steers a terminal, and it has that many lines."""
    return not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text) and lines in (None, text.count("\n"))


def test_error_is_one_plain_line(tmp_path, capsys):
    """Cause and file stay in front, whatever a name says behind them."""
    def refuse(_):
        raise InputError(f"a.json: {HARM}: correct it")

    def miss(_):
        open(tmp_path / HARM)

    for command, begin in ((refuse, "error: a.json: "), (miss, f"error: {tmp_path}")):
        assert console.cli_errors(command)() == 2
        said = capsys.readouterr().err
        assert said.startswith(begin + ("" if command is refuse else "/") + SHOWN) and harmless(said, 1)
    console.print_stderr(f"note: {HARM}")
    assert harmless(capsys.readouterr().err, 1)
    (tmp_path / "file").write_text("")
    assert prepare.main(["EuroSAT", "--root", str(tmp_path / "file" / HARM)])
    assert harmless(capsys.readouterr().err, 1)


class Refuses(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, _):
        try:
            raise ValueError("before")
        except ValueError as error:
            raise InputError(f"a.png: {HARM}\n: correct it") from error


def test_error_of_a_worker_process():
    with pytest.raises(InputError) as caught:
        next(iter(torch.utils.data.DataLoader(Refuses(), num_workers=1)))
    said = console.one_line(caught.value)
    assert said.startswith(f"a.png: {SHOWN}") and said.endswith(": correct it") and harmless(said, 0)


def test_class_names_steer_no_terminal(tmp_path, capsys):
    names = [HARM, "dog"]
    cfg = setup_cfg(argparse.Namespace(config_file=f"{ROOT}/configs/trainers/CoOp/demo.yaml", dataset_config_file="",
                                       trainer="CoOp", opts=["TRAINER.COOP.CSC", "True"], no_cache=False))[0]
    prompts = prompted_clip.TRAINERS.entries["CoOp"].METHOD(cfg, load_clip("demo"), ["a", "b"]).prompts
    torch.save({"state_dict": prompts.state_dict(), "epoch": 1, "trainer": "CoOp", "classnames": names,
                "config": cfg.dump()}, tmp_path / "model.pth")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    assert classify.main([str(tmp_path / "model.pth"), str(tmp_path / "a.png"), "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert SHOWN in out and harmless(out.replace("\t", ""), 1)
    for classnames in (names, names[:1]):
        content = torch.load(tmp_path / "model.pth", weights_only=True)
        torch.save({**content, "classnames": classnames}, tmp_path / "other.pth")
        assert nearest_words.main([str(tmp_path / "other.pth"), "1"]) == 0
        out = capsys.readouterr().out
        assert SHOWN in out and harmless(out, 2 * (1 + cfg.TRAINER.COOP.N_CTX))
    torch.save({**content, "classnames": 5}, tmp_path / "other.pth")
    assert nearest_words.main([str(tmp_path / "other.pth"), "1"]) == 2
    assert "its class names are damaged" in capsys.readouterr().err


def test_tables_steer_no_terminal(tmp_path, capsys):
    for folder in ("runs", HARM):  # the same run twice, of which a note names the second
        put(tmp_path / folder / "seed1", trainer=HARM, dataset=HARM, command=["--config-file", f"{HARM}.yaml", "x"])
    for form in ("terminal", "markdown", "latex", "csv"):
        assert results_main([str(tmp_path), "--format", form]) == 0
        said = capsys.readouterr()
        assert "owned" in said.out and harmless(said.out)
        assert "is left out" in said.err and harmless(said.err, 1)
    for path in (tmp_path / "runs", tmp_path):
        assert parse_test_res.main([str(path), *["--multi-exp"] * (path == tmp_path)]) == 0
        said = capsys.readouterr()
        assert harmless(said.out + said.err)


@pytest.mark.parametrize("name", [
    "ViT-B/16", "vit_b16_ep50", "<img src=http://evil.example/x> x", "[c](javascript:alert(1))", "<b>", "&lt;", "a\\|b",
    "![x](http://evil.example)", "*x* _y_ __z__ `w` ~~v~~", "\\[c](x)", "<http://evil.example>", SCRIPT, QUOTE])
def test_markdown(name, tmp_path, capsys):
    put(tmp_path / "runs" / "seed1", trainer=name, dataset=name, backbone="RN50")
    assert results_main([str(tmp_path), "--format", "markdown"]) == 0
    shown = in_markdown(capsys.readouterr().out)
    assert name in shown.replace(name.lower(), "", 2 if name != name.lower() else 0)
    assert shown.lower().count(name.lower()) == 3, "title, head and row"


def test_markdown_makes_no_links_of_addresses():
    """GitHub makes a link of what begins with a protocol or www."""
    assert render.verbatim("see https://a.b, WWW.a.b") == r"see https\://a.b, WWW\.a.b"
    assert render.verbatim("ViT-B-32:laion2b 1.5") == "ViT-B-32:laion2b 1.5"


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_csv(name, tmp_path, capsys):
    put(tmp_path / "runs" / "seed1", trainer=name, dataset=name, seed=-1)
    assert results_main([str(tmp_path), "--format", "csv"]) == 0
    row, = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert all(row[key][0] not in "=+-@\t\r" for key in ("method", "dataset")) and row["seeds"] == "-1"


@pytest.mark.parametrize("line", ["epoch [1/2] loss 1.0 (1..2)", f"epoch [{'9' * 5000}/2] loss 1.0 (1.2)",
                                  f"epoch [1/2] loss 1.0 ({'9' * 5000})", "epoch [1/1]" * 8000])
def test_log(line, tmp_path):
    (tmp_path / "log.txt").write_text(f"{line}\nepoch [7/9] loss 1.0 (0.5)\n")
    begin = time.process_time()
    assert plots.curve(tmp_path) == ([7], [0.5])
    assert time.process_time() - begin < 3


def test_names_that_no_file_can_hold(tmp_path, capsys):
    per_class = {"\ud800": {"correct": 1, "total": 2}}
    put(tmp_path / "runs" / "seed1", trainer="\ud800x", backbone="\udce9",
        command=["--config-file", "\ud800.yaml", "x"], results={"test": {"accuracy": 50.0, "per_class": per_class}})
    put(tmp_path / "zero" / "seed1", trainer="ZeroshotCLIP", backbone="\udce9",
        results={"test": {"accuracy": 40.0, "per_class": per_class}})
    assert results_main([str(tmp_path), "--html", str(tmp_path / "a.html"), "--pictures", str(tmp_path / "p")]) == 0
    assert "?x" in capsys.readouterr().out and (tmp_path / "p" / "gains.png").exists()
    for change in ({"command": ["--config-file", "a\0b.yaml", "x"]}, {"trainer": "\0"}, {"dataset": "a\0"}):
        put(tmp_path / str(change)[:9] / "seed2", **change)
        assert results_main([str(tmp_path / str(change)[:9])]) == 2
        assert "is not a whole result" in capsys.readouterr().err


@pytest.mark.parametrize("line, share", [
    ("epoch [1/0] batch [1/0]", 0), ("epoch [1/1] batch [1/0]", 0), (f"epoch [{'9' * 3000}/1] batch [1/1]", 0),
    ("epoch [999/2] batch [9/3]", 0.9), ("epoch [0/2] batch [1/4]", 0), ("epoch [2/4] batch [1/2]", 0.3375)])
def test_console_of_a_sweep(line, share, tmp_path):
    (tmp_path / "console").write_text(f"CTX_INIT: {line}\n")
    assert Worker({}, job=SimpleNamespace(steps=[1]), step=1, console=tmp_path / "console").share == share


# ---------------------------------------------------------------- numbers

@pytest.mark.parametrize("change", [{"pairs": SCRIPT}, {"pairs": 10 ** 400}, {"agreement": SCRIPT}, {"agreement": None},
                                    {"number": SCRIPT}, {"number": 7}, {"name": 5}, {}], ids=str)
def test_hierarchy_of_words_for_numbers(change, tmp_path):
    """Only one whose numbers are numbers gets a page."""
    found = {"number": 0, "name": "cats", "pairs": 2, "agreement": 1.0, **change}
    about = {"format": hierarchy.FORMAT, "options": {"least": 1},
             "domains": [{"pairs": 2, "agreement": 1, "classes": [found]}]}
    numbers = torch.zeros(2, dtype=torch.int32)
    save_file({"domain": numbers, "pseudo": numbers.clone()}, tmp_path / "a.tree", {"about": json.dumps(about)})
    assert hierarchy_page.sound(hierarchy.read_hierarchy(tmp_path / "a.tree")) is not bool(change)
    if change:
        assert gram_browse.main([str(tmp_path / "a.tree")]) == 2


def test_warnings_and_wrong_flags_are_plain_too(caplog, capsys):
    console.setup_streams()
    logger = logging.getLogger("promptreg")
    logger.addFilter(console.plain_record)
    logger.warning("%s: cannot be saved", "a\nb\x1b[2J")
    logger.removeFilter(console.plain_record)
    assert caplog.messages == ["a\\nb\\x1b[2J: cannot be saved"]
    with pytest.raises(SystemExit):
        classify.main(["--bogus\x1b[2J\nerror:", "x", "y"])
    assert "\x1b" not in (said := capsys.readouterr().err) and said.count("\n") == 1
