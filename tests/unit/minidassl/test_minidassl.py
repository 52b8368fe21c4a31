"""minidassl's data, training loop, checkpoints and utilities, on a toy dataset of small images."""
import json
import os
import random
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.minidassl_toy import COLOURS, ToyTrainer, toy_cfg
from support.paths import ROOT
from torch import nn

from minidassl import utils
from minidassl.config import clean_cfg, get_cfg_default
from minidassl.data import DataManager, DatasetWrapper, data_manager
from minidassl.data.datasets import Datum, build_dataset
from minidassl.data.samplers import RandomClassSampler, build_sampler
from minidassl.data.transforms import build_transform
from minidassl.data.transforms.transforms import AVAI_CHOICES
from minidassl.engine import SimpleNet, TrainerX, TrainerXU, build_trainer
from minidassl.evaluation import build_evaluator
from minidassl.metrics import compute_accuracy
from minidassl.optim import build_lr_scheduler, build_optimizer


@pytest.fixture
def cfg(tmp_path):
    return toy_cfg(tmp_path)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


# ---- training


def test_training_prints_saves_and_tests_as_dassl_does(cfg, capsys):
    cfg.TRAIN.CHECKPOINT_FREQ = 3
    trainer = build_trainer(cfg)
    trainer.train()
    lines = capsys.readouterr().out.splitlines()
    assert "No checkpoint found, train from scratch" in lines
    step = (r"epoch \[1/4\] batch \[2/2\] time \d+\.\d{3} \(\d+\.\d{3}\) data \d+\.\d{3} \(\d+\.\d{3}\) "
            r"loss \d+\.\d{4} \(\d+\.\d{4}\) acc \d+\.\d{4} \(\d+\.\d{4}\) lr 2\.0000e-02 eta \d:\d\d:\d\d")
    assert any(re.fullmatch(step, line) for line in lines)
    end = lines.index("Finish training")
    assert lines[end + 1:end + 5] == ["Deploy the last-epoch model", "Evaluate on the *test* set", "=> result",
                                      "* total: 6"]
    assert re.fullmatch(r"Elapsed: 0:00:\d\d", lines[-1])

    folder = Path(cfg.OUTPUT_DIR) / "linear"
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint", "model.pth.tar-3", "model.pth.tar-4"]
    assert (folder / "checkpoint").read_text() == "model.pth.tar-4\n"
    saved = torch.load(folder / "model.pth.tar-4", weights_only=True)
    assert set(saved) == {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} and saved["epoch"] == 4
    assert list((Path(cfg.OUTPUT_DIR) / "tensorboard").iterdir())
    assert trainer.test() == 100.0, "three plain colours are not hard to tell apart"


def test_print_freq(cfg, capsys):
    cfg.OPTIM.MAX_EPOCH = 1
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 1  # nine batches
    cfg.TRAIN.PRINT_FREQ = 4
    build_trainer(cfg).train()
    printed = re.findall(r"^epoch \[1/1\] batch \[(\d)/9\]", capsys.readouterr().out, re.MULTILINE)
    assert printed == ["4", "8"]


@pytest.mark.parametrize("warmup", ["constant", "linear"])
def test_resuming_gives_what_an_unbroken_run_gives(cfg, capsys, warmup):
    cfg.OPTIM.WARMUP_TYPE = warmup
    cfg.OPTIM.WARMUP_EPOCH = 2
    cfg.OPTIM.MAX_EPOCH = 6
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    cfg.DATALOADER.TRAIN_X.SAMPLER = "SequentialSampler"
    rates = {}

    def run(directory, broken_at=None):
        cfg.OUTPUT_DIR = directory
        trainer = build_trainer(cfg)

        def before_epoch():
            if trainer.epoch == broken_at:
                raise KeyboardInterrupt
            rates.setdefault(directory, []).append(trainer.get_current_lr())

        trainer.before_epoch = before_epoch
        trainer.train()
        return trainer

    unbroken, broken = cfg.OUTPUT_DIR, cfg.OUTPUT_DIR + "-broken"
    expected = weights(run(unbroken))
    for epoch in (1, 4):  # within the warm-up, and after it
        with pytest.raises(KeyboardInterrupt):
            run(broken, broken_at=epoch)
    capsys.readouterr()
    resumed = run(broken)
    assert f"Found checkpoint at {broken} (will resume training)" in capsys.readouterr().out
    assert rates[broken] == rates[unbroken]
    assert torch.equal(weights(resumed), expected)


def test_load_model_of_an_epoch(cfg, capsys):
    cfg.TRAIN.CHECKPOINT_FREQ = 2
    trained = build_trainer(cfg)
    trained.train()
    fresh = build_trainer(cfg)
    start = weights(fresh)
    fresh.load_model(cfg.OUTPUT_DIR, epoch=2)
    halfway = weights(fresh)
    fresh.load_model(cfg.OUTPUT_DIR, epoch=4)
    assert torch.equal(weights(fresh), weights(trained))
    assert not torch.equal(halfway, start) and not torch.equal(halfway, weights(fresh))
    assert "(epoch=4)" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=re.escape(str(Path(cfg.OUTPUT_DIR, "linear", "model.pth.tar-3")))):
        fresh.load_model(cfg.OUTPUT_DIR, epoch=3)
    fresh.load_model("")
    assert torch.equal(weights(fresh), weights(trained))


def test_best_val_model_is_the_one_deployed(cfg, capsys, monkeypatch):
    cfg.TEST.FINAL_MODEL = "best_val"
    results, seen = iter([10.0, 30.0, 20.0, 30.0, 0.0]), []
    trainer = build_trainer(cfg)

    def test(split=None):
        seen.append((split, weights(trainer)))
        return next(results)

    monkeypatch.setattr(trainer, "test", test)
    trainer.train()
    assert [split for split, _ in seen] == ["val"] * 4 + [None]
    assert torch.equal(seen[-1][1], seen[1][1]), "the first epoch with the best result is deployed at the end"
    assert "Deploy the model with the best val performance" in capsys.readouterr().out


def test_split_of_the_test(cfg, capsys):
    trainer = build_trainer(cfg)
    trainer.test(split="val")
    assert "Evaluate on the *val* set\n=> result\n* total: 3\n" in capsys.readouterr().out
    trainer.cfg.TEST.SPLIT = "val"
    trainer.val_loader = None
    with pytest.raises(ValueError, match="no validation images"):  # Dassl takes the test set then, without a word
        trainer.test()
    trainer.cfg.TEST.SPLIT = "test"
    trainer.test()
    assert "Evaluate on the *test* set\n=> result\n* total: 6\n" in capsys.readouterr().out
    trainer.cfg.TEST.FINAL_MODEL = "best_val"
    with pytest.raises(ValueError, match="no validation images"):
        trainer.train()


def test_no_test(cfg, capsys):
    cfg.TEST.NO_TEST = True
    cfg.OPTIM.MAX_EPOCH = 1
    build_trainer(cfg).train()
    assert "Evaluate" not in capsys.readouterr().out
    assert Path(cfg.OUTPUT_DIR, "linear", "model.pth.tar-1").exists()


def test_a_loss_that_is_not_finite_stops_training(cfg):
    trainer = build_trainer(cfg)
    with pytest.raises(FloatingPointError, match="infinite or NaN"):
        trainer.model_backward_and_update(torch.tensor(float("nan"), requires_grad=True))


def test_models_are_registered_once_and_named(cfg):
    trainer = build_trainer(cfg)
    with pytest.raises(ValueError, match="'linear'"):
        trainer.register_model("linear", trainer.model)
    with pytest.raises(KeyError, match="'other'"):
        trainer.update_lr("other")
    trainer.set_model_mode("test", "linear")
    assert not trainer.model.training
    with pytest.raises(KeyError, match="'evaluate'"):
        trainer.set_model_mode("evaluate")


def test_trainer_without_models_starts_from_scratch(cfg, capsys):
    class Nothing(TrainerX):
        def build_model(self):
            pass

    assert Nothing(cfg).resume_model_if_exist(cfg.OUTPUT_DIR) == 0
    assert "train from scratch" in capsys.readouterr().out


def test_trainer_on_labelled_and_unlabelled_data(cfg):
    class Both(TrainerXU, ToyTrainer):
        def forward_backward(self, batch_x, batch_u):
            images, labels, unlabelled = TrainerXU.parse_batch_train(self, batch_x, batch_u)
            sizes.append((len(images), len(labels), len(unlabelled)))
            return {"loss": 0.0}

    cfg.DATASET.NUM_LABELED = 1
    cfg.DATALOADER.TRAIN_U.SAME_AS_X = False
    cfg.DATALOADER.TRAIN_U.BATCH_SIZE = 2  # one whole batch of three images
    trainer = Both(cfg)
    for count, number in (("train_x", 2), ("train_u", 1), ("smaller_one", 1)):
        sizes = []
        trainer.cfg.TRAIN.COUNT_ITER = count
        trainer.run_epoch()
        assert sizes == [(4, 4, 2)] * number
    trainer.cfg.TRAIN.COUNT_ITER = "longest"
    with pytest.raises(ValueError, match="COUNT_ITER"):
        trainer.run_epoch()


def test_simple_net_on_a_torchvision_backbone(cfg, capsys):
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED = "shufflenet_v2_x0_5", False
    cfg.MODEL.HEAD.NAME, cfg.MODEL.HEAD.HIDDEN_LAYERS = "mlp", [6]
    net = SimpleNet(cfg, cfg.MODEL, num_classes=3).eval()
    logits, features = net(torch.zeros(2, 3, 32, 32), return_feature=True)
    assert logits.shape == (2, 3) and features.shape == (2, 6) and net.fdim == 6
    assert SimpleNet(cfg, cfg.MODEL, num_classes=0).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 6)


def test_both_names_are_the_same_modules():
    """In a process of its own, as the choice of Dassl holds for the whole process."""
    code = """
import sys, types
package = types.ModuleType("trainers")
package.__path__ = ["trainers"]  # the engine alone, without the trainers
sys.modules["trainers"] = package
from trainers.compat import engine
if not engine.is_mini:
    sys.exit("Dassl itself is installed")
from dassl.engine import TRAINER_REGISTRY, TrainerX
import dassl.data.datasets.base_dataset, dassl.data.data_manager, dassl.data.transforms.transforms
import dassl.optim.lr_scheduler, dassl.config.defaults, minidassl.engine, minidassl.config, minidassl.data
assert dassl is minidassl and dassl.__version__ == "0.6.3"
assert minidassl.engine.TRAINER_REGISTRY is TRAINER_REGISTRY
assert dassl.data.datasets.base_dataset is minidassl.data.datasets.base_dataset
assert dassl.config.defaults._C is minidassl.config.defaults._C
dassl.config.defaults._C.DATASET.SUBSAMPLE_CLASSES = "all"
assert minidassl.config.get_cfg_default().DATASET.SUBSAMPLE_CLASSES == "all"
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if "Dassl itself is installed" in run.stderr:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr


# ---- data


def test_manager_of_a_dataset(cfg, capsys):
    cfg.VERBOSE = True
    manager = DataManager(cfg)
    assert (manager.num_classes, manager.num_source_domains) == (3, 0)
    assert manager.lab2cname == dict(enumerate(COLOURS)) and manager.dataset.classnames == list(COLOURS)
    assert len(manager.train_loader_x) == 2, "the ninth image does not fill a batch"
    assert manager.train_loader_u is None
    assert sum(len(batch["label"]) for batch in manager.test_loader) == 6
    assert sum(len(batch["label"]) for batch in manager.val_loader) == 3
    printed = capsys.readouterr().out
    assert re.search(r"^Dataset +ToyColours$", printed, re.MULTILINE)
    assert re.search(r"^# train_x +9$", printed, re.MULTILINE)


def test_a_batch_larger_than_the_training_set_is_kept(cfg):
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 100
    assert [len(batch["label"]) for batch in DataManager(cfg).train_loader_x] == [9]


def test_what_an_item_holds(cfg):
    source = build_dataset(cfg).train_x
    cfg.DATALOADER.RETURN_IMG0 = True
    cfg.DATALOADER.K_TRANSFORMS = 2
    views = [lambda image: image.size, lambda image: image.mode]
    item = DatasetWrapper(cfg, source, transform=views, is_train=True)[4]
    assert {key: item[key] for key in item if key != "img0"} == {
        "label": 1, "domain": 1, "impath": source[4].impath, "index": 4,
        "img": [(10, 12)] * 2, "img2": ["RGB"] * 2,
    }
    plain = build_transform(cfg, is_train=True, choices=["normalize"])
    assert torch.equal(item["img0"], plain(Image.open(source[4].impath)))
    cfg.DATALOADER.RETURN_IMG0 = False
    assert DatasetWrapper(cfg, source, transform=views[0], is_train=False)[0]["img"] == (10, 12)
    assert "img0" not in DatasetWrapper(cfg, source, transform=views[0])[0]
    with pytest.raises(ValueError, match="K_TRANSFORMS"):
        DatasetWrapper(cfg, source, transform=None, is_train=True)


def test_seed_fixes_the_order_of_training(cfg):
    loader = DataManager(cfg).train_loader_x
    utils.set_random_seed(3)
    order = torch.cat([batch["index"] for batch in loader]).tolist()
    utils.set_random_seed(3)
    torch.empty((), dtype=torch.int64).random_()  # the loader's own draw, the base seed of its workers
    generator = torch.Generator()
    generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
    assert order == torch.randperm(9, generator=generator).tolist()[:8]


def test_no_more_workers_than_cores(cfg, capsys, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    data_manager._workers.cache_clear()
    cfg.DATALOADER.NUM_WORKERS = 8
    loaders = [data_manager.build_data_loader(cfg, data_source=build_dataset(cfg).test) for _ in range(2)]
    assert [loader.num_workers for loader in loaders] == [1, 1]
    assert not any(loader.persistent_workers for loader in loaders)
    assert capsys.readouterr().out.count("NUM_WORKERS 8 is more than this machine has cores, using 1") == 1
    data_manager._workers.cache_clear()


def test_custom_transforms_and_wrapper(cfg, capsys):
    class Labels(DatasetWrapper):
        def __getitem__(self, idx):
            return self.transform(self.data_source[idx].label)

    manager = DataManager(cfg, custom_tfm_train=lambda label: label + 10, custom_tfm_test=lambda label: label + 20,
                          dataset_wrapper=Labels)
    assert set(torch.cat(list(manager.train_loader_x)).tolist()) <= {10, 11, 12}
    assert torch.cat(list(manager.test_loader)).tolist() == [20, 20, 21, 21, 22, 22]
    assert "custom transform for training" in capsys.readouterr().out


def test_data_that_is_not_there_is_named(cfg, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.png"):
        Datum(str(tmp_path / "nothing.png"))
    with pytest.raises(ValueError, match="'grey' is not a domain of ToyColours"):
        cfg.DATASET.SOURCE_DOMAINS = ["grey"]
        build_dataset(cfg)
    cfg.DATASET.NAME = "ToyColour"
    with pytest.raises(ValueError, match="'ToyColour' is not known, do you mean 'ToyColours'"):
        build_dataset(cfg)
    with pytest.raises(ValueError, match="no images"):
        data_manager.build_data_loader(cfg, data_source=[])
    source = [types.SimpleNamespace(domain=domain) for domain in (0, 0, 0, 0, 1)]
    with pytest.raises(ValueError, match="SeqDomainSampler makes no batch of 4 of the 5 training images"):
        data_manager.build_data_loader(cfg, "SeqDomainSampler", source, batch_size=4)


def test_fewshot_with_too_few_images(cfg):
    dataset = build_dataset(cfg)
    assert len(dataset.generate_fewshot_dataset(dataset.train_x, num_shots=5)) == 9
    assert len(dataset.generate_fewshot_dataset(dataset.train_x, num_shots=5, repeat=True)) == 15
    assert dataset.generate_fewshot_dataset(dataset.train_x, num_shots=-1) is dataset.train_x
    train, val = dataset.generate_fewshot_dataset(dataset.train_x, dataset.val, num_shots=2)
    assert [item.label for item in train] == [0, 0, 1, 1, 2, 2] and len(val) == 3


def test_random_class_batches():
    source = [types.SimpleNamespace(label=i % 5, domain=0) for i in range(40)]
    random.seed(0)
    sampler = RandomClassSampler(source, batch_size=8, n_ins=4)
    order = list(sampler)
    assert len(set(order)) == len(order) and all(length % 8 == 0 and 24 <= length <= 40
                                                 for length in (len(order), len(sampler)))
    for start in range(0, len(order), 8):
        labels = [source[i].label for i in order[start:start + 8]]
        assert len(set(labels[:4])) == len(set(labels[4:])) == 1 and labels[0] != labels[4]
    rare = RandomClassSampler(source[:7], batch_size=4, n_ins=4)  # one or two images a class
    assert all(len({source[i].label for i in list(rare)[k:k + 4]}) == 1 for k in range(0, len(rare), 4))
    with pytest.raises(ValueError, match="needs 6 classes, but there are 5"):
        RandomClassSampler(source, batch_size=24, n_ins=4)
    with pytest.raises(ValueError, match="less than"):
        RandomClassSampler(source, batch_size=2, n_ins=4)


@pytest.mark.parametrize("name, n_domain, in_batch", [("SeqDomainSampler", 0, 3), ("RandomDomainSampler", 0, 3),
                                                      ("RandomDomainSampler", 2, 2)])
def test_domain_batches(name, n_domain, in_batch):
    source = [types.SimpleNamespace(label=0, domain=i % 3) for i in range(30)]
    random.seed(0)
    sampler = build_sampler(name, data_source=source, batch_size=6, n_domain=n_domain)
    order = list(sampler)
    assert len(set(order)) == len(order) > 0
    for start in range(0, len(order), 6):
        domains = [source[i].domain for i in order[start:start + 6]]
        assert len(set(domains)) == in_batch and all(domains.count(d) == 6 // in_batch for d in domains)
        assert name == "RandomDomainSampler" or domains == sorted(domains)
    with pytest.raises(ValueError, match="not a multiple"):
        build_sampler(name, data_source=source, batch_size=7, n_domain=n_domain)


def test_unknown_sampler():
    with pytest.raises(ValueError, match="Unknown sampler type: Sorted"):
        build_sampler("Sorted", data_source=[])


@pytest.mark.parametrize("name", AVAI_CHOICES)
def test_each_transform_gives_the_size_and_says_its_name(cfg, name, capsys):
    cfg.INPUT.GB_K = 3
    cfg.INPUT.SIZE = (16, 16)
    utils.set_random_seed(0)
    image = Image.fromarray(np.random.randint(0, 256, (16, 16, 3)).astype(np.uint8))
    plain = build_transform(cfg, is_train=True, choices=[])
    train = build_transform(cfg, is_train=True, choices=[name])
    outputs = [train(image) for _ in range(40)]
    assert all(output.shape == (3, 16, 16) for output in outputs)
    changed = any(not torch.equal(output, plain(image)) for output in outputs)
    assert changed == (name != "center_crop"), "center_crop is of testing, where it always applies"
    steps = [type(step).__name__ for step in build_transform(cfg, is_train=False, choices=[name]).transforms]
    extra = {"normalize": ["Normalize"], "instance_norm": ["InstanceNormalization"]}.get(name, [])
    assert steps == ["Resize", "CenterCrop", "ToTensor", *extra]


def test_transforms_use_what_the_config_says(cfg):
    cfg.INPUT.RRCROP_SCALE = (0.5, 0.6)
    cfg.INPUT.INTERPOLATION = "nearest"
    crop = build_transform(cfg, is_train=True, choices=["random_resized_crop"]).transforms[0]
    assert crop.scale == (0.5, 0.6) and crop.interpolation.value == "nearest"
    normalized = build_transform(cfg, choices=["instance_norm"])(Image.effect_noise((8, 8), 50).convert("RGB"))
    assert normalized.mean(dim=(1, 2)).abs().max() < 1e-5
    assert torch.allclose(normalized.std(dim=(1, 2)), torch.ones(3), atol=1e-5)
    with pytest.raises(ValueError, match="do you mean 'random_flip'"):
        build_transform(cfg, choices=["random_flips"])
    cfg.INPUT.NO_TRANSFORM = True
    assert build_transform(cfg) is None


# ---- optimizers, schedulers, checkpoints


@pytest.mark.parametrize("name, kind", [("sgd", "SGD"), ("adam", "Adam"), ("amsgrad", "Adam"), ("adamw", "AdamW"),
                                        ("rmsprop", "RMSprop"), ("radam", "RAdam")])
def test_optimizers(cfg, name, kind):
    cfg.OPTIM.NAME = name
    model = nn.Linear(2, 1)
    for parameters in (model, model.parameters(), [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias]}]):
        optimizer = build_optimizer(parameters, cfg.OPTIM)
        assert type(optimizer).__name__ == kind
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.02]
    assert optimizer.param_groups[0]["weight_decay"] == 5e-4
    assert optimizer.param_groups[0].get("amsgrad", False) == (name == "amsgrad")
    given = build_optimizer(model, cfg.OPTIM, param_groups=[{"params": [model.bias]}])
    assert len(given.param_groups[0]["params"]) == 1


def test_staged_learning_rates(cfg):
    cfg.OPTIM.STAGED_LR = True
    cfg.OPTIM.NEW_LAYERS = ["1"]
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    old, new = build_optimizer(model, cfg.OPTIM).param_groups
    assert old["lr"] == pytest.approx(0.002) and new["lr"] == 0.02
    assert new["params"][0] is model[1].weight and old["params"][0] is model[0].weight
    with pytest.raises(TypeError, match="STAGED_LR needs a module"):
        build_optimizer(list(model.parameters()), cfg.OPTIM)


@pytest.mark.parametrize("key, value, message", [
    ("LR_SCHEDULER", "cosin", "do you mean 'cosine'"), ("WARMUP_TYPE", "constan", "do you mean 'constant'"),
    ("NAME", "sdg", "do you mean 'sgd'"),
])
def test_unknown_names_are_answered_with_the_nearest(cfg, key, value, message):
    cfg.OPTIM[key] = value
    with pytest.raises(ValueError, match=message):
        build_lr_scheduler(build_optimizer(nn.Linear(1, 1), cfg.OPTIM), cfg.OPTIM)


def test_step_sizes_that_do_not_suit(cfg):
    optimizer = build_optimizer(nn.Linear(1, 1), cfg.OPTIM)
    cfg.OPTIM.LR_SCHEDULER = "single_step"
    assert build_lr_scheduler(optimizer, cfg.OPTIM).successor.step_size == cfg.OPTIM.MAX_EPOCH, "from (-1,)"
    cfg.OPTIM.STEPSIZE = (2.5,)
    with pytest.raises(TypeError, match="2.5"):
        build_lr_scheduler(optimizer, cfg.OPTIM)
    cfg.OPTIM.LR_SCHEDULER, cfg.OPTIM.STEPSIZE = "multi_step", 3
    with pytest.raises(TypeError, match="not 3"):
        build_lr_scheduler(optimizer, cfg.OPTIM)


def test_checkpoints_of_another_engine_and_hostile_ones(cfg, tmp_path, monkeypatch):
    """Whole scheduler objects, as Dassl saves them, are read as data; what would run code on loading does not."""
    foreign = types.ModuleType("foreign_engine")
    exec("class Scheduler:\n    pass\nclass Bomb:\n    def __reduce__(self):\n        import os\n"
         f"        return os.mkdir, ({str(tmp_path / 'exploded')!r},)\n", foreign.__dict__)
    monkeypatch.setitem(sys.modules, "foreign_engine", foreign)
    model = nn.Linear(2, 1)
    optimizer = build_optimizer(model, cfg.OPTIM)
    scheduler = build_lr_scheduler(optimizer, cfg.OPTIM)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    successor = foreign.Scheduler()
    successor.__dict__.update(scheduler.successor.state_dict(), optimizer=foreign.Scheduler())
    state = {"state_dict": model.state_dict(), "epoch": 3, "val_result": foreign.Bomb(),
             "optimizer": optimizer.state_dict(), "scheduler": {**scheduler.state_dict(), "successor": successor}}
    torch.save(state, tmp_path / "model.pth.tar-3")
    (tmp_path / "checkpoint").write_text("model.pth.tar-3\n")
    monkeypatch.delitem(sys.modules, "foreign_engine")

    other = nn.Linear(2, 1)
    resumed_optimizer = build_optimizer(other, cfg.OPTIM)
    resumed = build_lr_scheduler(resumed_optimizer, cfg.OPTIM)
    assert utils.resume_from_checkpoint(str(tmp_path), other, resumed_optimizer, resumed) == 3
    assert torch.equal(other.weight, model.weight)
    assert resumed.successor.last_epoch == scheduler.successor.last_epoch
    scheduler.step()
    resumed.step()
    assert resumed.get_last_lr() == scheduler.get_last_lr() != [0.02]
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "no letters", "two disks"])
def test_damaged_checkpoint_is_named_in_one_line(tmp_path, damage):
    utils.save_checkpoint({"state_dict": {"a": torch.arange(1000)}, "epoch": 1}, str(tmp_path))
    path = tmp_path / "model.pth.tar-1"
    whole = path.read_bytes()
    end = whole.rindex(b"PK\6\7")
    path.write_bytes({"cut": whole[:len(whole) // 2], "text": b"<html>Not found</html>", "empty": b"",
                      "no letters": whole.replace(b"/data.pkl", b"\xff\xff\xff\xff\xff.pkl"),
                      "two disks": whole[:end + 16] + b"\2" + whole[end + 17:]}[damage])
    with pytest.raises(OSError, match=re.escape(str(path))) as caught:
        utils.load_checkpoint(str(path))
    assert "\n" not in str(caught.value)


def test_long_reasons_are_cut_to_a_line(tmp_path, monkeypatch):
    def load(*args, **kwargs):
        raise RuntimeError("bad archive\nframe #0: somewhere")

    monkeypatch.setattr(torch, "load", load)
    (tmp_path / "w.pt").touch()
    with pytest.raises(OSError, match=r"w\.pt is damaged or not a checkpoint \(bad archive\); ") as caught:
        utils.load_checkpoint(str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    utils.save_checkpoint({"state_dict": {"a": torch.ones(1)}, "epoch": 1}, str(tmp_path), is_best=True)
    with pytest.raises(Exception, match="lambda|pickle"):
        utils.save_checkpoint({"state_dict": {"a": lambda: None}, "epoch": 1}, str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model-best.pth.tar", "model.pth.tar-1"]
    assert utils.load_checkpoint(str(tmp_path / "model.pth.tar-1"))["state_dict"]["a"] == 1
    assert utils.load_checkpoint(str(tmp_path / "model-best.pth.tar"))["epoch"] == 1
    with pytest.raises(FileNotFoundError, match="tar-2"):
        utils.load_checkpoint(str(tmp_path / "model.pth.tar-2"))


def test_names_of_data_parallel_weights(tmp_path):
    state = {"state_dict": {"module.a": torch.ones(1)}, "epoch": 1}
    utils.save_checkpoint(state, str(tmp_path))
    assert list(utils.load_checkpoint(str(tmp_path / "model.pth.tar-1"))["state_dict"]) == ["a"]
    assert list(state["state_dict"]) == ["module.a"], "the caller's dict is left alone"


def test_pretrained_weights_that_fit_are_loaded(tmp_path, capsys):
    source, model = nn.Linear(2, 3), nn.Linear(2, 3)
    torch.save({"module.weight": source.weight, "bias": torch.zeros(5)}, tmp_path / "w.pt")
    bias = model.bias.clone()
    utils.load_pretrained_weights(model, str(tmp_path / "w.pt"))
    assert torch.equal(model.weight, source.weight) and torch.equal(model.bias, bias)
    assert "['bias']" in capsys.readouterr().out
    torch.save({"other": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.warns(UserWarning, match="Nothing in .*w.pt fits"):
        utils.load_pretrained_weights(model, str(tmp_path / "w.pt"))


# ---- config, metrics, utilities


def test_config_copies_are_independent_and_typed():
    first = get_cfg_default()
    first.DATASET.NAME = "Other"
    assert get_cfg_default().DATASET.NAME == ""
    first.merge_from_list(["OPTIM.STEPSIZE", "[3, 6]", "INPUT.SIZE", "(32, 32)", "TRAINER.NAME", "CoOp"])
    assert first.OPTIM.STEPSIZE == (3, 6), "a list is cast to the default's tuple"
    with pytest.raises(ValueError, match="Type mismatch"):
        first.merge_from_list(["OPTIM.LR", "fast"])
    with pytest.raises((KeyError, AssertionError)):
        first.merge_from_list(["OPTIM.SPEED", "1"])
    clean_cfg(first, "mme")
    assert set(first.TRAINER) == {"NAME", "MME"}


def test_accuracy_of_the_top_k():
    output = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    top1, top2 = compute_accuracy((output, "features"), torch.tensor([0, 1, 0, 2]), topk=(1, 2))
    assert top1.tolist() == [25.0] and top2.tolist() == [75.0]


def test_evaluation_where_a_class_is_predicted_that_does_not_occur(cfg, capsys):
    cfg.TEST.PER_CLASS_RESULT = cfg.TEST.COMPUTE_CMAT = True
    evaluator = build_evaluator(cfg, lab2cname={0: "a", 1: "b"})
    logits = torch.eye(5)[[0, 3, 1]]  # label 2 neither occurs nor is predicted
    for batch in (slice(0, 2), slice(2, 3)):
        evaluator.process(logits[batch], torch.tensor([0, 0, 1])[batch])
    results = evaluator.evaluate()
    assert dict(results) == pytest.approx({"accuracy": 200 / 3, "error_rate": 100 / 3, "macro_f1": 250 / 3,
                                           "perclass_accuracy": 75.0})
    assert "* class: 1 (b)\ttotal: 1\tcorrect: 1\tacc: 100.0%\n* average: 75.0%" in capsys.readouterr().out
    cmat = torch.load(Path(cfg.OUTPUT_DIR, "cmat.pt"), weights_only=True)
    assert cmat.tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0, 0, 0]], "rows: the labels 0, 1, 3; columns: predictions"
    evaluator.reset()
    with pytest.raises(ValueError, match="no batch"):
        evaluator.evaluate()
    with pytest.raises(ValueError, match="lab2cname"):
        build_evaluator(cfg)


def test_log_holds_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back afterwards
    console = sys.stdout
    utils.setup_logger(str(tmp_path / "run"))
    print("first")
    assert (tmp_path / "run" / "log.txt").read_text() == "first\n", "a line is on the disk once it is printed"
    assert sys.stdout.file.name.endswith("log.txt") and sys.stdout.encoding == console.encoding
    utils.setup_logger(str(tmp_path / "run"))
    print("second")
    logs = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert len(logs) == 2 and re.fullmatch(r"log\.txt-\d{4}(-\d\d){5}", logs[1])
    assert (tmp_path / "run" / "log.txt").read_text() == "first\n"
    assert (tmp_path / "run" / logs[1]).read_text() == "second\n"
    utils.setup_logger(str(tmp_path / "other.log"))
    sys.stdout.close()
    print("console alone")
    assert (tmp_path / "other.log").read_text() == ""
    utils.setup_logger(None)
    assert capsys.readouterr().out == "first\nsecond\nconsole alone\n"


def test_seed_covers_all_generators():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    utils.set_random_seed(5)
    first = draw()
    assert draw() != first
    utils.set_random_seed(5)
    assert draw() == first


def test_meters():
    meter = utils.MetricMeter()
    meter.update({"loss": torch.tensor(2.0), "acc": 50})
    meter.update({"loss": 1.0, "acc": 100})
    meter.update(None)
    assert str(meter) == "loss 1.0000 (1.5000) acc 100.0000 (75.0000)"
    with pytest.raises(TypeError, match="list"):
        meter.update([1])
    average = utils.AverageMeter()
    average.update(1.0, n=3)
    average.update(5.0)
    assert (average.val, average.avg, average.sum, average.count) == (5.0, 2.0, 8.0, 4)


def test_registry():
    registry = utils.Registry("THING")

    @registry.register()
    def thing():
        return 1

    assert registry.get("thing") is thing and registry.registered_names() == ["thing"]
    with pytest.raises(KeyError, match="thing is already registered in THING"):
        registry.register(thing)
    registry.register(types.SimpleNamespace(__name__="thing"), force=True)
    assert registry.get("thing") is not thing
    with pytest.raises(KeyError, match="other is not registered in THING"):
        registry.get("other")


def test_files(tmp_path):
    utils.write_json({"a": [1, "ü"]}, str(tmp_path / "new" / "x.json"))
    assert utils.read_json(str(tmp_path / "new" / "x.json")) == {"a": [1, "ü"]}
    with pytest.raises(TypeError):
        utils.write_json({"a": object()}, str(tmp_path / "new" / "x.json"))
    assert os.listdir(tmp_path / "new") == ["x.json"]
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"a": [1, "ü"]}
    (tmp_path / "cut.json").write_text('{"a": [1')
    with pytest.raises(ValueError, match="cut.json"):
        utils.read_json(str(tmp_path / "cut.json"))

    (tmp_path / ".hidden").touch()
    assert utils.listdir_nohidden(str(tmp_path), sort=True) == ["cut.json", "new"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert utils.check_isfile(str(tmp_path / "cut.json"))
    with pytest.warns(UserWarning, match="absent"):
        assert not utils.check_isfile(str(tmp_path / "absent"))


def test_images(tmp_path):
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / "grey.png")
    image = utils.read_image(str(tmp_path / "grey.png"))
    assert image.mode == "RGB" and image.size == (3, 2) and image.getpixel((0, 0)) == (7, 7, 7)
    (tmp_path / "cut.png").write_bytes((tmp_path / "grey.png").read_bytes()[:40])
    for name in ("cut.png", "absent.png"):
        with pytest.raises(OSError, match=name):
            utils.read_image(str(tmp_path / name))


def test_handles_on_modules():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False))
    assert utils.count_num_param(model) == 6 + 4 + 2 == utils.count_num_param(model.parameters())
    utils.open_specified_layers(model, "2")
    assert [p.requires_grad for p in model.parameters()] == [False] * 4 + [True]
    assert [child.training for child in model] == [False, False, True]
    utils.open_all_layers(model)
    assert all(p.requires_grad for p in model.parameters()) and model[0].training
    with pytest.raises(ValueError, match="'3'"):
        utils.open_specified_layers(model, ["3"])
    for init_type in ("normal", "xavier", "kaiming", "orthogonal"):
        before = model[0].weight.clone()
        nn.init.constant_(model[1].weight, 5.0)
        utils.init_network_weights(model, init_type)
        assert not torch.equal(model[0].weight, before) and not model[0].bias.any() and (model[1].weight == 1).all()
    with pytest.raises(ValueError, match="'zeros'"):
        utils.init_network_weights(model, "zeros")


def test_small_helpers():
    assert utils.tolist_if_not("a") == ["a"] and utils.tolist_if_not(["a"]) == ["a"]
    assert utils.get_most_similar_str_to_a_from_b("cat", ["dog", "cart"]) == "cart"
    assert utils.get_most_similar_str_to_a_from_b("ab", ["ax", "xb"]) == "xb", "the last of equals"
    assert utils.get_most_similar_str_to_a_from_b("cat", []) is None
    about = utils.collect_env_info().splitlines()
    assert about[0] == f"PyTorch version: {torch.__version__}" and f"numpy: {np.__version__}" in about
