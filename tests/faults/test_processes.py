"""Two processes under torchrun come to what one does with their joint batch, whatever the set's size, seed or split."""
import json
import os
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from support import reference
from support.paths import ROOT

from trainers.errors import InputError, SetupError
from trainers.training import checkpoint, distributed, evaluation, loader
from trainers.training.run import main

SCRIPT = """
import json, sys, time
sys.path.insert(0, {root!r})
from trainers import checkpoint, parallel
from trainers.training import trainer
from trainers.training.run import main

save = checkpoint.save
told, infer, load = {{}}, trainer.PromptTrainer.model_inference, trainer.train_loader

def counted(self, images):
    told[case]["images"].append(len(images))
    return infer(self, images)

def noted(cfg, manager, *args):
    told[case]["train"] = [item.impath for item in manager.dataset.train_x]
    return load(cfg, manager, *args)

def late(*args):
    time.sleep(2 * (case == "best"))  # the other process would look for the file meanwhile
    save(*args)

trainer.PromptTrainer.model_inference, trainer.train_loader, checkpoint.save = counted, noted, late
for case, words in json.load(open(sys.argv[1])).items():
    told[case] = {{"images": []}}
    told[case]["code"] = main(words)
with open(f"{{sys.argv[1]}}.{{parallel.rank()}}", "w") as file:
    json.dump(told, file)
"""
QUICK = ["DATASET.SUBSAMPLE_CLASSES", "base", "OPTIM.WARMUP_EPOCH", "-1"]
UNTESTED = ["OPTIM.MAX_EPOCH", "2", "TEST.NO_TEST", "True"]
# name -> trainer, images of a class, joint batch, more: five classes, so 10 or 5 images
CASES = {"even": ("CoOp", 2, 4, ["OPTIM.MAX_EPOCH", "1"]),
         "uneven": ("PromptSRC", 1, 8, [*UNTESTED, "TRAINER.PROMPTSRC.GPA_MEAN", "1"]),
         "uneven text": ("KgCoOp", 1, 8, [*UNTESTED, "TRAINER.COOP.W", "100."]),
         "empty share": ("ProGrad", 1, 16, [*UNTESTED, "LOSS.LAMBDA", "0.7"]),
         "best": ("CoOp", 1, 2, ["OPTIM.MAX_EPOCH", "1", "TEST.FINAL_MODEL", "best_val"]),
         "zero-shot": ("ZeroshotCLIP", 1, 2, [])}
TESTED = ("even", "best", "zero-shot")

def words(case, output, data, processes):
    trainer, shots, batch, more = CASES[case]
    folder = trainer if trainer != "ZeroshotCLIP" else "CoOp"
    return ["--trainer", trainer, "--seed", "1", "--root", str(data), "--output-dir", str(output / case),
            "--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"),
            "--config-file", str(ROOT / f"configs/trainers/{folder}/demo.yaml"),
            "DATASET.NUM_SHOTS", str(shots), *QUICK, *more,
            "DATALOADER.TRAIN_X.BATCH_SIZE", str(batch // processes), "DATALOADER.TEST.BATCH_SIZE", "64"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folder whose ``one`` and ``two`` hold each case's output, and what each of the two processes did."""
    folder = tmp_path_factory.mktemp("processes")
    for case in CASES:
        assert main(words(case, folder / "one", folder / "data", 1)) == 0
    unseeded = words("even", folder / "none", folder / "data", 2)
    unseeded[unseeded.index("--seed") + 1] = "-1"  # it comes first: others' seeds would be left to it
    jobs = {"unseeded": unseeded, **{case: words(case, folder / "two", folder / "data", 2) for case in CASES}}
    (folder / "jobs").write_text(json.dumps(jobs))
    (folder / "run.py").write_text(SCRIPT.format(root=str(ROOT)))
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                           folder / "run.py", folder / "jobs"], env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [json.loads((folder / f"jobs.{rank}").read_text()) for rank in (0, 1)]


def result(folder):
    return json.loads((folder / "result.json").read_text())["results"]


@pytest.mark.parametrize("case", [case for case in CASES if case != "zero-shot"])
def test_prompts_are_those_of_one_process(case, runs):
    folder, _ = runs
    one, two = (sorted((folder / place / case).rglob("model*.pth.tar*")) for place in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two] != []
    one, two = (checkpoint.read_checkpoint(paths[-1])["state_dict"] for paths in (one, two))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value - two[name]).abs().max() < 1e-6, name


@pytest.mark.parametrize("case", TESTED)
def test_figures_are_those_of_one_process(case, runs):
    folder, _ = runs
    assert result(folder / "one" / case) == result(folder / "two" / case)


@pytest.mark.parametrize("case", TESTED)
def test_evaluation_is_shared_out(case, runs):
    folder, told = runs
    total = sum(split["total"] for split in result(folder / "one" / case).values())
    shares = [sum(process[case]["images"]) for process in told]
    assert sum(shares) == total
    assert all(0.3 * total < share < 0.7 * total for share in shares)


def test_the_best_checkpoint_of_one_epoch_is_there_for_all(runs):
    _, told = runs
    assert [process["best"]["code"] for process in told] == [0, 0]


def test_an_unseeded_run_has_one_few_shot_set(runs):
    _, told = runs
    assert told[0]["unseeded"]["train"] == told[1]["unseeded"]["train"]


# ---- without launching any

def test_a_run_is_resumed_with_its_joint_batch(tmp_path, monkeypatch):
    """The config has the batch of one process; two would go on with another optimization under the same name."""
    weights = reference.weights_file("vit", tmp_path)
    reference.make("coop_end", weights, tmp_path).train()
    again = reference.make("coop_end", weights, tmp_path)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(InputError, match=r"model.pth.tar-3 is of a run with 32 images a step, and 2 processes with "
                                         "DATALOADER.TRAIN_X.BATCH_SIZE 32 have 64: set DATALOADER.TRAIN_X.BATCH_SIZE "
                                         "16$"):
        again.resume_model_if_exist(str(tmp_path))
    distributed.compare_joint_batch(again.cfg, None, "a checkpoint from before")


class Group:
    """Stands for torch.distributed in process ``rank`` of two; ``other`` is what the other one sends."""

    def __init__(self, monkeypatch, rank=0):
        self.other, self.rank = [], rank
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed.dist, "all_reduce", lambda flat: flat.add_(self.other.pop(0)))
        monkeypatch.setattr(distributed.dist, "get_backend", lambda: "gloo")
        monkeypatch.setattr(distributed.dist, "broadcast", lambda tensor, _: tensor)


def test_means_are_weighted_by_images(monkeypatch):
    group = Group(monkeypatch)
    group.other = [torch.tensor([3 * 8.0, 3 * 4.0, 3])]  # three images, gradients 8 and 4
    found = distributed.mean([torch.tensor([4.0]), None, torch.tensor(0.0)], 1)
    assert found[1] is None and [float(found[0]), float(found[2])] == [7.0, 3.0]
    group.other = [torch.tensor([10.0, 5])]
    assert float(distributed.mean([torch.tensor(float("nan"))], 0)[0]) == 2.0  # what stands for no images is not used


@pytest.mark.parametrize("size, shares", [(8, [4, 4]), (5, [4, 1]), (4, [4, 0]), (3, [3, 0])])
def test_a_set_below_the_joint_batch_is_shared_without_repeating(size, shares):
    torch.manual_seed(3)
    (whole,) = loader.SeededBatchSampler(size, 8, False)
    parts = []
    for rank in (0, 1):
        torch.manual_seed(3)
        parts += loader.SeededBatchSampler(size, 4, False, rank, 2)
    real = [[pair for pair in part if pair[1] != loader.PADDING] for part in parts]
    assert [len(part) for part in real] == shares and sum(real, []) == whole and all(parts)


def test_samplers_that_are_not_shared_out_are_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    assert main([*words("even", tmp_path, tmp_path, 2), "DATALOADER.TRAIN_X.SAMPLER", "SequentialSampler"]) == 2
    assert "DATALOADER.TRAIN_X.SAMPLER SequentialSampler, K_TRANSFORMS 1" in capsys.readouterr().err


TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.mark.parametrize("change", [{"RANK": None}, {"LOCAL_RANK": None}, {"LOCAL_RANK": "2"}, {"LOCAL_RANK": "-1"},
                                    {"LOCAL_RANK": "gpu0"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": "0"}, {"RANK": "1.0"},
                                    {"MASTER_PORT": "tcp"}, {"MASTER_PORT": None}, {"MASTER_ADDR": ""}])
def test_half_a_launcher_is_one_line(change, monkeypatch, capsys):
    for name, value in {**TORCHRUN, **change}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert main(["--trainer", "CoOp", "--root", "nowhere"]) == SetupError.exit_code
    error = capsys.readouterr().err
    (name, value), = change.items()
    assert error.count("\n") == 1 and (f"{name} is {value!r}" if value is not None else f"{name} is not set") in error


@pytest.mark.parametrize("local, here, gpus, wanted", [("1", None, 1, 2), ("0", "4", 2, 4), ("0", "1", 0, 1)])
def test_more_processes_than_gpus_is_one_line(local, here, gpus, wanted, monkeypatch):
    for name, value in {**TORCHRUN, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": here}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(SetupError, match=f"{wanted} processes were started and this machine shows {gpus} GPU"):
        distributed.start("cuda")


def test_processes_that_do_not_meet_are_one_line(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)

    def fails(_):
        raise RuntimeError("The client socket has timed out\nand so on")
    monkeypatch.setattr(distributed.dist, "init_process_group", fails)
    with pytest.raises(SetupError, match=r"at localhost:1 \(The client socket has timed out\)"):
        distributed.start("cpu")


class Recorder:
    """An evaluator that keeps what it is given."""

    def reset(self):
        self.batches = []

    def process(self, outputs, labels):
        self.batches.append((outputs, labels))

    def evaluate(self):
        return OrderedDict(accuracy=float(len(self.batches)), error_rate=1.0)


def test_the_evaluator_gets_every_processes_batches_in_order(monkeypatch):
    """Three batches in two processes: the second has none in the last round, and still takes part in it."""
    batches = [(torch.full((2, 4), float(i)), torch.tensor([i, i])) for i in range(3)]
    rows = [torch.cat([outputs, labels[:, None]], 1) for outputs, labels in batches]
    given = []

    def gather(own):
        given.append(own)
        turn = 2 * (len(given) - 1)
        return [*rows[turn:turn + 2], rows[0][:0]][:2]
    Group(monkeypatch, rank=1)
    monkeypatch.setattr(distributed, "gather", gather)
    trainer = type("T", (), {"val_loader": None, "test_loader": batches, "evaluator": Recorder(),
                             "device": torch.device("cpu")})()
    inner = trainer.evaluator
    with evaluation.shared_out(trainer):
        assert len(trainer.test_loader) == 1 and trainer.val_loader is None
        trainer.evaluator.reset()
        for outputs, labels in trainer.test_loader:
            trainer.evaluator.process(outputs, labels)
        assert list(trainer.evaluator.evaluate()) == ["accuracy"]
    assert [part.shape[0] for part in given] == [2, 0] and torch.equal(given[0], rows[1])
    assert all(torch.equal(a, x) and torch.equal(b, y) for (a, b), (x, y) in zip(inner.batches, batches, strict=True))
    assert trainer.evaluator is inner and trainer.test_loader is batches
