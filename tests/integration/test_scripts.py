"""The scripts' commands, for every method, setting and dataset, are the published protocols'; what they share works."""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from trainers.sweep.plan import METHODS, plan

ELEVEN = ["imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101", "fgvc_aircraft",
          "sun397", "dtd", "eurosat", "ucf101"]
VARIANTS = ["imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"]
SRC = "vit_b16_c2_ep20_batch4_4+4ctx"
# method: (config, last epoch, shots) of base-to-new, (config, last epoch, shots) of cross-dataset
VIT = {
    "PromptSRC": ((SRC, 20, 16), (f"{SRC}_cross_datasets", 20, 16)),
    "IVLP": ((SRC, 20, 16), (SRC, 20, 16)),
    "MaPLe": (("vit_b16_c2_ep5_batch4_2ctx", 5, 16), ("vit_b16_c2_ep5_batch4_2ctx_cross_datasets", 2, 16)),
    "VPT": (("vit_b16_c2_ep5_batch4_4", 5, 16), ("vit_b16_c2_ep5_batch4_4", 5, 16)),
    "CoCoOp": (("vit_b16_c4_ep10_batch1_ctxv1", 10, 16), ("vit_b16_c4_ep10_batch1_ctxv1", 10, 16)),
    "KgCoOp": (("vit_b16_ep100_ctxv1", 100, 16), ("vit_b16_ep100_ctxv1", 100, 16)),
}
FEW = {**{method: VIT[method][0] for method in VIT}, "PromptSRC": ("vit_b16_c2_ep50_batch4_4+4ctx_few_shot", 50, 16)}
CONTEXT = {"TRAINER.COOP.N_CTX": "16", "TRAINER.COOP.CSC": "False", "TRAINER.COOP.CLASS_TOKEN_POSITION": "end"}
KG = {**CONTEXT, "TRAINER.COOP.N_CTX": "4", "TRAINER.COOP.W": "8.0"}


def read(command):
    """Return ({flag: value}, {key: value}) of a command line of train.py."""
    words, flags = list(command[2:]), {}
    while words and words[0].startswith("--"):
        flag = words.pop(0)
        flags[flag] = words.pop(0) if words and not words[0].startswith("--") and flag != "--eval-only" else True
    return flags, dict(zip(words[::2], words[1::2], strict=True))


def flags(method, cfg, dataset, seed, folder, model=None, epoch=None):
    """Return the flags that the published protocols give every script, and those of test scripts."""
    own = {"--root": "data", "--seed": str(seed), "--trainer": method,
           "--dataset-config-file": f"{ROOT}/configs/datasets/{dataset}.yaml",
           "--config-file": f"{ROOT}/configs/trainers/{method}/{cfg}.yaml", "--output-dir": folder}
    if model:
        own |= {"--model-dir": model, "--load-epoch": str(epoch), "--eval-only": True}
    return own


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("DATA", "OUTPUT", "CFG", "SHOTS", "LOADEP", "SEEDS", "OPTS", "LAMBDA", "GPA_MEAN", "GPA_STD",
                 "BACKBONE", "NCTX", "CSC", "CTP", "WEIGHT", "TRAINER", "SOURCE", "DRY_RUN", "SEED"):
        monkeypatch.delenv(name, raising=False)


def commands(*args, **kwargs):
    return [read(command) for job in plan(*args, **kwargs) for step in job.steps for command in step.commands]


@pytest.mark.parametrize("method", VIT)
def test_base_to_new(method):
    cfg, epoch, shots = VIT[method][0]
    folder = f"shots_{shots}" + ("_8.0" if method == "KgCoOp" else "")
    keys = KG if method == "KgCoOp" else {}
    expected = []
    for dataset in ELEVEN:
        below = f"{dataset}/{folder}/{method}/{cfg}/seed2"
        train, test = f"output/base2new/train_base/{below}", f"output/base2new/test_new/{below}"
        expected += [(flags(method, cfg, dataset, 2, train),
                      {"DATASET.NUM_SHOTS": "16", "DATASET.SUBSAMPLE_CLASSES": "base", **keys}),
                     (flags(method, cfg, dataset, 2, test, train, epoch),
                      {"DATASET.NUM_SHOTS": "16", "DATASET.SUBSAMPLE_CLASSES": "new", **keys})]
    assert commands([method], "base2new", seeds=[2]) == expected


@pytest.mark.parametrize("method", ["ProGrad", "CoOp"])
def test_base_to_new_of_prograds_paper(method):
    keys = {**CONTEXT, "DATASET.NUM_SHOTS": "4", **({"LOSS.LAMBDA": "1.0"} if method == "ProGrad" else {})}
    expected = []
    for dataset in ELEVEN:
        cfg, epoch = ("rn50_ep50", 50) if dataset == "imagenet" else ("rn50_ep100", 100)
        below = f"{dataset}/shots_4/{method}/{cfg}/seed3"
        train, test = f"output/base2new/train_base/{below}", f"output/base2new/test_new/{below}"
        expected += [(flags(method, cfg, dataset, 3, train), {"DATASET.SUBSAMPLE_CLASSES": "base", **keys}),
                     (flags(method, cfg, dataset, 3, test, train, epoch), {"DATASET.SUBSAMPLE_CLASSES": "new", **keys})]
    assert commands([method], "base2new", seeds=[3]) == expected


def published_gpa(dataset):
    """Return PromptSRC's few-shot aggregation by dataset."""
    broad = ("imagenet", "caltech101", "oxford_pets", "food101", "ucf101", "sun397")
    mean, std = ("30", "30") if dataset in broad else ("45", "5")
    return {"TRAINER.PROMPTSRC.GPA_MEAN": mean, "TRAINER.PROMPTSRC.GPA_STD": std}


@pytest.mark.parametrize("method", FEW)
def test_few_shot(method):
    cfg = FEW[method][0]
    expected = []
    for dataset in ELEVEN:
        for shots in (1, 2, 4, 8, 16):
            keys = {"DATASET.NUM_SHOTS": str(shots)}
            if method == "PromptSRC":
                keys |= published_gpa(dataset)
            output = f"output/{dataset}/{method}/{cfg}_{shots}shots/seed1"
            expected.append((flags(method, cfg, dataset, 1, output), keys))
    assert commands([method], "few_shot", seeds=[1]) == expected


@pytest.mark.parametrize("method", ["ProGrad", "CoOp"])
def test_few_shot_of_coop_and_prograd(method):
    expected = []
    for dataset in ELEVEN:
        for shots in (1, 2, 4, 8, 16):
            cfg = {1: "rn50_ep50", 2: "rn50_ep100", 4: "rn50_ep100"}.get(shots, "rn50")
            cfg = "rn50_ep50" if dataset == "imagenet" else cfg
            keys = {**CONTEXT, "DATASET.NUM_SHOTS": str(shots)}
            if method == "ProGrad":
                gentle = shots in (8, 16) and dataset in ("oxford_flowers", "dtd", "eurosat")
                keys["LOSS.LAMBDA"] = "0.8" if gentle else "1.0"
            folder = f"output/{dataset}/{method}/{cfg}_{shots}shots/nctx16_cscFalse_ctpend/seed1"
            expected.append((flags(method, cfg, dataset, 1, folder), keys))
    assert commands([method], "few_shot", seeds=[1]) == expected


@pytest.mark.parametrize("setting", ["xd", "dg"])
@pytest.mark.parametrize("method", VIT)
def test_transfer(method, setting):
    cfg, epoch, shots = VIT[method][1]
    source = f"output/imagenet/{method}/{cfg}_{shots}shots/seed1"
    expected = [(flags(method, cfg, "imagenet", 1, source), {"DATASET.NUM_SHOTS": str(shots)})]
    for dataset in ELEVEN[1:] if setting == "xd" else VARIANTS:
        folder = f"output/evaluation/{method}/{cfg}_{shots}shots/{dataset}/seed1"
        expected.append((flags(method, cfg, dataset, 1, folder, source, epoch), {}))
    assert commands([method], setting, seeds=[1]) == expected


@pytest.mark.parametrize("setting", ["xd", "dg"])
@pytest.mark.parametrize("method,shots", [("ProGrad", 4), ("CoOp", 16)])
def test_transfer_of_coop_and_prograd(method, shots, setting):
    context = "nctx16_cscFalse_ctpend"
    keys = {**CONTEXT, **({"LOSS.LAMBDA": "1.0"} if method == "ProGrad" else {})}
    source = f"output/imagenet/{method}/rn50_ep50_{shots}shots/{context}/seed1"
    expected = [(flags(method, "rn50_ep50", "imagenet", 1, source), {**keys, "DATASET.NUM_SHOTS": str(shots)})]
    for dataset in ELEVEN[1:] if setting == "xd" else VARIANTS:
        folder = f"output/evaluation/{method}/rn50_ep50_{shots}shots/{context}/{dataset}/seed1"
        expected.append((flags(method, "rn50_ep50", dataset, 1, folder, source, 50), keys))
    assert commands([method], setting, seeds=[1]) == expected


@pytest.mark.parametrize("method", ["ZeroshotCLIP", "ZeroshotCLIP2"])
@pytest.mark.parametrize("setting,datasets", [("few_shot", ELEVEN), ("xd", ELEVEN[1:]), ("dg", VARIANTS)])
def test_zero_shot(method, setting, datasets):
    expected = [({**flags(method, "vit_b16", dataset, 1, f"output/{method}/vit_b16/{dataset}"),
                  "--eval-only": True}, {}) for dataset in datasets]
    for flag, _ in expected:
        flag["--config-file"] = f"{ROOT}/configs/trainers/ZeroshotCLIP/vit_b16.yaml"
    assert commands([method], setting) == expected


@pytest.mark.parametrize("method", ["ZeroshotCLIP", "ZeroshotCLIP2"])
def test_zero_shot_base_to_new(method):
    expected = []
    for dataset in ELEVEN:
        for classes in ("base", "new"):
            folder = f"output/base2new/test_{classes}/{dataset}/shots_16/{method}/vit_b16/seed3"
            run = {**flags(method, "vit_b16", dataset, 3, folder), "--eval-only": True}
            run["--config-file"] = f"{ROOT}/configs/trainers/ZeroshotCLIP/vit_b16.yaml"
            expected.append((run, {"DATASET.NUM_SHOTS": "16", "DATASET.SUBSAMPLE_CLASSES": classes}))
    assert commands([method], "base2new", seeds=[3]) == expected


# GRAM's trainers run by their base method's config; CoOp's and ProGrad's by KgCoOp's ViT setting, 50 epochs as CoOp's.
GRAM = {"UNIGRAM": VIT["IVLP"][0][:2], "GRAMPromptSRC": VIT["PromptSRC"][0][:2], "GRAMVPT": VIT["VPT"][0][:2],
        "GRAMCoCoOp": VIT["CoCoOp"][0][:2], "GRAMCoOp": ("vit_b16_ep50_ctxv1", 50),
        "GRAMProGrad": ("vit_b16_ep50_ctxv1", 50)}


@pytest.mark.parametrize("method", GRAM)
def test_gram(method, monkeypatch):
    cfg, epoch = GRAM[method]
    shots = {"DATASET.NUM_SHOTS": "16"}
    expected = []
    for dataset in ELEVEN:
        below = f"{dataset}/shots_16/{method}/{cfg}/seed2"
        train, test = f"output/base2new/train_base/{below}", f"output/base2new/test_new/{below}"
        expected += [(flags(method, cfg, dataset, 2, train), {**shots, "DATASET.SUBSAMPLE_CLASSES": "base"}),
                     (flags(method, cfg, dataset, 2, test, train, epoch),
                      {**shots, "DATASET.SUBSAMPLE_CLASSES": "new"})]
    assert commands([method], "base2new", seeds=[2]) == expected

    source = f"output/imagenet/{method}/{cfg}_16shots/seed2"
    for setting, datasets in (("xd", ELEVEN[1:]), ("dg", VARIANTS)):
        expected = [(flags(method, cfg, "imagenet", 2, source), shots)]
        expected += [(flags(method, cfg, dataset, 2, f"output/evaluation/{method}/{cfg}_16shots/{dataset}/seed2",
                            source, epoch), {}) for dataset in datasets]
        assert commands([method], setting, seeds=[2]) == expected

    cfg = FEW["PromptSRC"][0] if method == "GRAMPromptSRC" else cfg
    expected = []
    for dataset in ELEVEN:
        for k in ("1", "2", "4", "8", "16"):
            keys = {"TRAINER.GRAM.META": "m.safetensors", **published_gpa(dataset)} if method == "GRAMPromptSRC" \
                else {"TRAINER.GRAM.META": "m.safetensors"}
            expected.append((flags(method, cfg, dataset, 2, f"output/{dataset}/{method}/{cfg}_{k}shots/seed2"),
                             {"DATASET.NUM_SHOTS": k, **keys}))
    monkeypatch.setenv("META", "m.safetensors")
    assert commands([method], "few_shot", seeds=[2]) == expected


LATER = {"TCP": ("tcp", "vit_b16_ep100_ctxv1", 50), "MultiModalAdapter": ("mma", "vit_b16_ep5", 5),
         "ProMetaR": ("prometar", "vit_b16_c2_ep10_batch4_4+4ctx", 10)}  # folder, config, epochs


@pytest.mark.parametrize("method", LATER)
def test_tcp_mma_and_prometar(method):
    """TCP trains 25 epochs on two sets, MMA has a config of its own for ImageNet; both hold where they are tested."""
    folder, usual, epochs = LATER[method]
    for dataset in ("imagenet", "sun397", "dtd"):
        short = {"OPTIM.MAX_EPOCH": "25"} if method == "TCP" and dataset != "dtd" else {}
        cfg = f"{usual}_imnet" if (method, dataset) == ("MultiModalAdapter", "imagenet") else usual
        below = f"{dataset}/shots_16/{method}/{cfg}/seed2"
        train, test = f"output/base2new/train_base/{below}", f"output/base2new/test_new/{below}"
        shots, epoch = {"DATASET.NUM_SHOTS": "16"}, 25 if short else epochs
        assert dry(f"{folder}/base2new_train.sh", dataset, "2") == [
            (flags(method, cfg, dataset, 2, train), {**shots, **short, "DATASET.SUBSAMPLE_CLASSES": "base"})]
        assert dry(f"{folder}/base2new_test.sh", dataset, "2") == [
            (flags(method, cfg, dataset, 2, test, train, epoch),
             {**shots, **short, "DATASET.SUBSAMPLE_CLASSES": "new"})]
    cfg = f"{usual}_imnet" if method == "MultiModalAdapter" else usual
    short, epoch = ({"OPTIM.MAX_EPOCH": "25"}, 25) if method == "TCP" else ({}, epochs)
    source = f"output/imagenet/{method}/{cfg}_16shots/seed2"
    assert dry(f"{folder}/xd_train.sh", "imagenet", "2") == [
        (flags(method, cfg, "imagenet", 2, source), {"DATASET.NUM_SHOTS": "16", **short})]
    assert dry(f"{folder}/xd_test.sh", "dtd", "2") == [
        (flags(method, cfg, "dtd", 2, f"output/evaluation/{method}/{cfg}_16shots/dtd/seed2", source, epoch), short)]
    assert dry(f"{folder}/few_shot.sh", "dtd", "4", SEEDS="2") == [
        (flags(method, usual, "dtd", 2, f"output/dtd/{method}/{usual}_4shots/seed2"), {"DATASET.NUM_SHOTS": "4"})]


def test_published_arguments_of_mma_and_prometar():
    (found, _), = dry("mma/base2new_test.sh", "dtd", "1", "vit_b16_ep5_imnet", "3")
    assert found["--load-epoch"] == "3" and found["--config-file"].endswith("vit_b16_ep5_imnet.yaml")
    assert dry("prometar/base2new_test.sh", "dtd", "1", "0", "new") == dry("prometar/base2new_test.sh", "dtd", "1")
    refused = subprocess.run(["bash", ROOT / "scripts/prometar/base2new_test.sh", "dtd", "1", "0", "base"],
                             capture_output=True, text=True)
    assert refused.returncode == 2 and "evaluates on the new classes" in refused.stderr


DEPT = {"DePT+CoOp": ("vit_b16_ep10_bs4_lr35", 10, "coop_dept"),
        "DePT+CoCoOp": ("vit_b16_c4_ep10_batch1_ctxv1", 10, "cocoop_dept"),
        "DePT+KgCoOp": ("vit_b16_ep10_ctxv1_bs4_lr35", 10, "kgcoop_dept"),
        "DePT+MaPLe": ("vit_b16_c2_ep10_batch4_2ctx", 10, "maple_dept"), "DePT+PromptSRC": (SRC, 20, "")}


@pytest.mark.parametrize("method", DEPT)
def test_dept(method):
    """Over PromptSRC, which has no config of DePT's, PromptSRC's own; the published words name the others as well."""
    cfg, epoch, word = DEPT[method]

    def flags_of(*arguments):
        found = flags(method, cfg, *arguments)
        return found if word else {**found, "--config-file": f"{ROOT}/configs/trainers/PromptSRC/{cfg}.yaml"}
    shots, below = {"DATASET.NUM_SHOTS": "16"}, f"dtd/shots_16/{method}/{cfg}/seed2"
    train, test = f"output/base2new/train_base/{below}", f"output/base2new/test_new/{below}"
    expected = [(flags_of("dtd", 2, train), {**shots, "DATASET.SUBSAMPLE_CLASSES": "base"}),
                (flags_of("dtd", 2, test, train, epoch), {**shots, "DATASET.SUBSAMPLE_CLASSES": "new"})]
    assert commands([method], "base2new", ["dtd"], seeds=[2]) == expected
    if word:
        assert dry("dept/base2new_test.sh", "dtd", "2", TRAINER=word) == expected[1:]
    assert commands([method], "few_shot", ["dtd"], seeds=[2], shots=[4]) == [
        (flags_of("dtd", 2, f"output/dtd/{method}/{cfg}_4shots/seed2"), {"DATASET.NUM_SHOTS": "4"})]
    source = f"output/imagenet/{method}/{cfg}_16shots/seed2"
    assert commands([method], "xd", ["dtd"], seeds=[2]) == [
        (flags_of("imagenet", 2, source), shots),
        (flags_of("dtd", 2, f"output/evaluation/{method}/{cfg}_16shots/dtd/seed2", source, epoch), {})]


def test_a_composition_takes_the_config_below_its_first_wrapper():
    (found, _), = dry("any/base2new_train.sh", "GRAM+DePT+CoOp", "digits", "1", CFG="demo")
    assert found["--trainer"] == "GRAM+DePT+CoOp" and found["--config-file"].endswith("DePT+CoOp/demo.yaml")
    (found, _), = dry("any/base2new_train.sh", "ExtrasLinearProbeMaPLe", "digits", "1", CFG="demo")
    assert found["--trainer"] == "DePT+MaPLe" and found["--output-dir"].split("/")[-3] == "DePT+MaPLe"


def test_gram_meta_training():
    for corpus, cfg, name in (("demo", "demo", "demo"), ("/c/pairs.tsv", "vit_b16", "pairs")):
        for prompts in ("coop", "cocoop", "vpt", "unigram"):
            assert dry("gram/meta_train.sh", corpus, prompts, SEEDS="1 3", PROCESSES="1") == [
                ({"--trainer": "GRAM", "--root": "data", "--seed": seed,
                  "--config-file": f"{ROOT}/configs/trainers/GRAM/{cfg}.yaml",
                  "--output-dir": f"output/gram/{name}/{prompts}/{cfg}/seed{seed}"},
                 {"TRAINER.GRAM.CORPUS": corpus, "TRAINER.GRAM.PROMPTS": prompts}) for seed in ("1", "3")]


def dry(script, *arguments, **environment):
    """Return what a script would run."""
    done = subprocess.run(["bash", ROOT / "scripts" / script, *arguments], capture_output=True, text=True,
                          env={**os.environ, **environment, "DRY_RUN": "1"})
    assert done.returncode == 0, done.stderr
    return [read(shlex.split(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("script,method,cfg,epoch", [
    ("promptsrc/reproduce_base2novel_setting.sh", "PromptSRC", SRC, 20),
    ("vpt/reproduce_vpt.sh", "VPT", VIT["VPT"][0][0], 5), ("maple/reproduce_maple.sh", "MaPLe", VIT["MaPLe"][0][0], 5),
    ("independent-vlp/reproduce_ivlp.sh", "IVLP", SRC, 20)])
def test_published_checkpoints_base_to_new(script, method, cfg, epoch):
    below = f"dtd/shots_16/{method}/{cfg}/seed2"
    assert dry(script, "dtd", "2", "W") == [
        (flags(method, cfg, "dtd", 2, f"output/base2new/test_{classes}/{below}", "W/base/seed2", epoch),
         {"DATASET.NUM_SHOTS": "16", "DATASET.SUBSAMPLE_CLASSES": classes}) for classes in ("base", "new")]


def test_published_checkpoints_of_the_other_settings():
    for script, method in (("promptsrc/reproduce_xd.sh", "PromptSRC"), ("maple/reproduce_maple_xd.sh", "MaPLe")):
        cfg, epoch, _ = VIT[method][1]
        assert dry(script, "dtd", "2", "W") == [
            (flags(method, cfg, "dtd", 2, f"output/evaluation/{method}/{cfg}_16shots/dtd/seed2", "W/seed2", epoch),
             {"DATASET.NUM_SHOTS": "16"})]
    cfg = FEW["PromptSRC"][0]
    assert dry("promptsrc/reproduce_few_shot.sh", "dtd", "8", "W", SEEDS="1 3") == [
        (flags("PromptSRC", cfg, "dtd", seed, f"output/few_shot/dtd/PromptSRC/{cfg}_8shots/seed{seed}",
               f"W/8shot/seed{seed}", 50), {"DATASET.NUM_SHOTS": "8"}) for seed in (1, 3)]


def test_published_arguments_and_the_environment_win():
    six = dry("prograd/prograd.sh", "dtd", "rn50_ep100", "middle", "4", "8", "True", LAMBDA="0.5", SEEDS="3")
    assert six == [(flags("ProGrad", "rn50_ep100", "dtd", 3,
                          "output/dtd/ProGrad/rn50_ep100_8shots/nctx4_cscTrue_ctpmiddle/seed3"),
                    {"LOSS.LAMBDA": "0.5", "TRAINER.COOP.N_CTX": "4", "TRAINER.COOP.CSC": "True",
                     "TRAINER.COOP.CLASS_TOKEN_POSITION": "middle", "DATASET.NUM_SHOTS": "8"})]
    (flag, keys), = dry("promptsrc/few_shot.sh", "dtd", "4", GPA_MEAN="7", SEEDS="1", OUTPUT="/o o", DATA="/d",
                        OPTS="OPTIM.LR 0.1")
    assert keys["TRAINER.PROMPTSRC.GPA_MEAN"] == "7" and keys["TRAINER.PROMPTSRC.GPA_STD"] == "5"
    assert keys["OPTIM.LR"] == "0.1" and flag["--root"] == "/d"
    assert flag["--output-dir"].startswith("/o o/dtd/PromptSRC/")
    (flag, keys), = dry("promptsrc/base2new_test.sh", "digits", "1", CFG="demo", SHOTS="2", LOADEP="9")
    assert flag["--load-epoch"] == "9" and keys["DATASET.NUM_SHOTS"] == "2"
    assert "/shots_2/PromptSRC/demo/" in flag["--model-dir"]
    (flag, _), = dry("vpt/base2new_test_vpt.sh", "digits", "1", CFG="demo")
    assert flag["--load-epoch"] == "5"  # of configs/trainers/VPT/demo.yaml


@pytest.mark.parametrize("script,environment,code,words", [
    ("promptsrc/few_shot.sh digits 1", {"SEEDS": " "}, 2, "SEEDS=' ': give whole numbers"),
    ("promptsrc/few_shot.sh digits 1", {"SEEDS": "1 x"}, 2, "SEEDS='1 x': give whole numbers"),
    ("gram/meta_train.sh demo coop", {"PROCESSES": "abc"}, 2, "PROCESSES='abc': give a whole number"),
    ("gram/meta_train.sh demo coop", {"PYTHON": "/nonsense", "PROCESSES": "2"}, 3, "there is no PYTHON /nonsense"),
    ("promptsrc/base2new_train.sh digits 1", {"PYTHON": "/nonsense"}, 3, "there is no PYTHON /nonsense")])
def test_a_wrong_environment_is_one_line(script, environment, code, words, tmp_path):
    name, *arguments = script.split()
    done = subprocess.run(["bash", ROOT / "scripts" / name, *arguments], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, **environment})
    assert (done.returncode, done.stdout) == (code, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and words in done.stderr


def test_seeds_on_lines_of_their_own():
    assert [flags["--seed"] for flags, _ in dry("coop/main.sh", "dtd", "1", SEEDS=" 1\n2\t 3\n")] == ["1", "2", "3"]


def test_pairs_behind_the_arguments_are_taken_word_for_word():
    for script, *arguments in (["coop/main.sh", "dtd", "1"], ["prograd/prograd.sh", "dtd", "1"],
                               ["gram/base2new_train.sh", "dtd", "1"]):
        for _, keys in dry(script, *arguments, "--", "INPUT.SIZE", "(32, 32)", OPTS="OPTIM.LR 0.1\nA.B 2"):
            assert keys["INPUT.SIZE"] == "(32, 32)" and keys["OPTIM.LR"] == "0.1" and keys["A.B"] == "2"


GIVEN = {"DATASET": "dtd", "SEED": "1", "SHOTS": "1", "TRAINER": "CoOp", "WEIGHTS": "w", "CORPUS": "demo",
         "PROMPTS": "coop", "[CFG]": "demo", "[EPOCH]": "5", "[GPU]": "0", "[new]": "new"}


def test_every_script_passes_print_cfg_on():
    for script in sorted((ROOT / "scripts").glob("*/*.sh")):
        if script.name == "settings.sh":
            continue
        usage = subprocess.run(["bash", script], capture_output=True, text=True).stderr
        words = [GIVEN[word] for word in re.split(r",| \[-- ", usage.split(".sh ")[1])[0].split()]
        done = subprocess.run(["bash", script, *words, "--print-cfg"], capture_output=True, text=True,
                              env={**os.environ, "DRY_RUN": "1", "CFG": "demo"})
        calls = done.stdout.splitlines()
        assert done.returncode == 0 and calls and all(call.count(" --print-cfg ") == 1 for call in calls), script


def test_print_cfg_of_a_meta_training_trains_nothing(tmp_path):
    done = subprocess.run(["bash", ROOT / "scripts" / "gram" / "meta_train.sh", "demo", "coop", "--print-cfg"],
                          capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "SEEDS": "1", "PROCESSES": "2"})
    assert done.returncode == 0, done.stderr
    assert re.search(r"^    PROMPTS: coop +# the command line$", done.stdout, re.M)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("environment, words, epoch", [
    ({}, ["OPTIM.LR", "0.1", "OPTIM.MAX_EPOCH", "3"], "3"), ({"OPTS": "OPTIM.MAX_EPOCH 4"}, [], "4"),
    ({"LOADEP": "2"}, ["OPTIM.MAX_EPOCH", "3"], "2"), ({}, ["OPTIM.LR", "0.1"], "20")])
def test_a_shorter_training_is_evaluated_at_its_last_epoch(environment, words, epoch):
    (found, _), = dry("promptsrc/base2new_test.sh", "dtd", "1", "--", *words, **environment)
    assert found["--load-epoch"] == epoch


def test_cdpath_leads_no_script_astray(monkeypatch):
    monkeypatch.setenv("CDPATH", f"{ROOT}/tests:{ROOT}")  # with it, "cd scripts" prints the folder
    monkeypatch.chdir(ROOT)
    done = subprocess.run(["bash", "scripts/promptsrc/xd_train.sh", "dtd", "1"], capture_output=True, text=True,
                          env={**os.environ, "DRY_RUN": "1"})
    assert f" {ROOT}/train.py " in done.stdout and done.stdout.count("\n") == 1


def test_every_config_that_scripts_name_is_there():
    named = {command[command.index(flag) + 1] for setting in ("base2new", "few_shot", "xd", "dg")
             for job in plan(METHODS, setting, seeds=[1], datasets=["imagenet_a" if setting == "dg" else "dtd"])
             for step in job.steps for command in step.commands for flag in ("--config-file", "--dataset-config-file")}
    assert [path for path in named if not Path(path).is_file()] == []


def test_wrong_arguments_are_one_line():
    for script in sorted((ROOT / "scripts").glob("*/*.sh")):
        if script.name == "settings.sh":  # what the others of its folder read
            continue
        done = subprocess.run(["bash", script, "a", "b", "c", "d", "e"], capture_output=True, text=True)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, script
        assert done.stderr.startswith("usage: "), script


def test_paths_given_to_test_sh_are_all_that_it_runs(tmp_path):
    """pytest looks through pyproject's testpaths where it is given none."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -m ] && echo "$@"; exit 0\n')
    python.chmod(0o755)
    done = subprocess.run(["bash", "scripts/test.sh", "tests/unit/regulate", "-x"], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, "PYTHON": str(python)})
    words = done.stdout.splitlines()[-1].split()
    assert words[:2] == ["-m", "pytest"] and [w for w in words if w.startswith("tests")] == ["tests/unit/regulate"]


def test_a_python_without_the_packages_is_one_line(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')  # no site-packages
    python.chmod(0o755)
    done = subprocess.run(["bash", ROOT / "scripts/promptsrc/few_shot.sh", "digits", "1"], capture_output=True,
                          text=True, env={**os.environ, "PYTHON": str(python)})
    assert (done.returncode, done.stdout) == (3, "") and done.stderr.count("\n") == 1
    assert re.match(r"error: this Python \(.*\) has no \w+: activate the environment", done.stderr)
