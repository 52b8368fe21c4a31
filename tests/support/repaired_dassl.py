"""What must work on Dassl 0.6.3 once it is repaired.

`test_repairs.py` runs this file on the stand-in, in a process of its own; it also runs on Dassl itself:
PROMPTREG_REAL_DASSL=PATH python -m pytest tests/support/repaired_dassl.py
"""
import collections
import importlib
import inspect
import logging
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import trainers
from dassl.config import get_cfg_default
from dassl.utils import load_checkpoint, save_checkpoint
from trainers.compat import checkpoints, engine, patches
from trainers.errors import InputError, SetupError

pytestmark = pytest.mark.skipif(engine.is_mini, reason="for Dassl, or its stand-in")


def optimizer_and_schedule(warmup, epochs=5, name="sgd", scheduler="cosine"):
    from dassl.optim import build_lr_scheduler, build_optimizer
    cfg = get_cfg_default().OPTIM
    cfg.merge_from_list(["NAME", name, "LR", 0.002, "MAX_EPOCH", epochs, "LR_SCHEDULER", scheduler, "STEPSIZE", (2, 3),
                         "WARMUP_EPOCH", 1 if warmup else -1, "WARMUP_TYPE", warmup or "constant"])
    optimizer = build_optimizer([torch.nn.Parameter(torch.ones(3))], cfg)
    return optimizer, build_lr_scheduler(optimizer, cfg)


def rates(optimizer, schedule, epochs):
    """Train with real gradients; returns the learning rates of the epochs."""
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        parameter, = optimizer.param_groups[0]["params"]
        parameter.grad = parameter.detach().cos()
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("warmup", ["constant", "linear"])
def test_warm_up_schedulers_are_built_and_step(warmup):
    found = rates(*optimizer_and_schedule(warmup), 4)
    cosine = [0.001 * (1 + np.cos(np.pi * epoch / 5)) for epoch in range(3)]
    assert found == pytest.approx([1e-5, *cosine])


@pytest.mark.parametrize("warmup", ["constant", "linear", None])
@pytest.mark.parametrize("scheduler", ["cosine", "single_step", "multi_step"])
@pytest.mark.parametrize("name", ["sgd", "adam", "amsgrad", "rmsprop", "radam", "adamw"])
def test_a_checkpoint_with_its_scheduler_is_read_and_resumed(name, scheduler, warmup, tmp_path):
    from dassl.utils import resume_from_checkpoint
    model = torch.nn.Linear(2, 2)
    whole_run = optimizer_and_schedule(warmup, 5, name, scheduler)
    whole = rates(*whole_run, 5)
    optimizer, schedule = optimizer_and_schedule(warmup, 5, name, scheduler)
    rates(optimizer, schedule, 2)
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 2, "optimizer": optimizer.state_dict(),
                     "scheduler": schedule.state_dict(), "val_result": np.float64(61.5)}, str(tmp_path))
    trained = optimizer.param_groups[0]["params"][0].detach().clone()
    optimizer, schedule = optimizer_and_schedule(warmup, 5, name, scheduler)
    optimizer.param_groups[0]["params"][0].data.copy_(trained)
    assert resume_from_checkpoint(str(tmp_path), torch.nn.Linear(2, 2), optimizer, schedule) == 2
    assert rates(optimizer, schedule, 3) == pytest.approx(whole[2:])
    assert torch.equal(optimizer.param_groups[0]["params"][0], whole_run[0].param_groups[0]["params"][0])


def test_what_is_read_is_what_was_saved(tmp_path):
    optimizer, schedule = optimizer_and_schedule("constant")
    rates(optimizer, schedule, 2)
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000,
              "_growth_tracker": 3}
    torch.save({"scheduler": schedule.state_dict(), "scaler": scaler, "accuracy": np.float32(61.5),
                "epoch": np.int64(2), "done": np.bool_(True)}, tmp_path / "file")
    found = load_checkpoint(str(tmp_path / "file"))
    saved = found["scheduler"]["successor"].optimizer
    state = saved.state[saved.param_groups[0]["params"][0]]
    own = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert torch.equal(state["momentum_buffer"], own["momentum_buffer"]) and own["momentum_buffer"].any()
    assert type(saved.state) is collections.defaultdict and saved.state["not there"] == {}
    assert found["scaler"] == scaler and found["accuracy"] == 61.5 and found["epoch"] == 2 and found["done"]


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_numpy_1_and_2_are_read(core, tmp_path):
    """Pickled as the other version names its module."""
    torch.save({"val_result": np.float64(61.5)}, tmp_path / "file", _use_new_zipfile_serialization=False)
    content = (tmp_path / "file").read_bytes()
    named = b"numpy._core.multiarray" if b"numpy._core.multiarray" in content else b"numpy.core.multiarray"
    (tmp_path / "file").write_bytes(content.replace(named, f"numpy.{core}.multiarray".encode()))
    assert load_checkpoint(str(tmp_path / "file")) == {"val_result": 61.5}


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harm-done",)


def test_a_checkpoint_that_names_code_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "epoch": 1, "scheduler": Harmful()}, "file.pth.tar")
    with pytest.raises(InputError, match="file.pth.tar holds objects of .*system") as caught:
        load_checkpoint("file.pth.tar")
    assert "\n" not in str(caught.value) and not (tmp_path / "harm-done").exists()


def test_a_file_that_cannot_be_decoded_is_not_unpickled(tmp_path, monkeypatch):
    """Dassl then tries again with a pickle module, and PyTorch would run what the file names."""
    monkeypatch.chdir(tmp_path)
    torch.save({"a word": 1, "harm": Harmful()}, "file.pth.tar", _use_new_zipfile_serialization=False)
    content = Path("file.pth.tar").read_bytes()
    Path("file.pth.tar").write_bytes(content.replace(b"a word", b"\xff\xfe\xfd\xfc\xfb\xfa"))
    with pytest.raises(InputError, match="file.pth.tar holds damaged or foreign content"):
        load_checkpoint("file.pth.tar")
    assert not Path("harm-done").exists()


class Own:
    """A class of the host's, of which its checkpoints hold an object."""


def test_a_hosts_own_weights_only_is_obeyed(tmp_path):
    torch.save({"own": Own()}, tmp_path / "file")
    with pytest.raises(InputError, match="objects of .*Own.*weights_only=False"):
        load_checkpoint(str(tmp_path / "file"))
    of_dassl = sys.modules["dassl.utils.torchtools"].torch
    assert type(of_dassl.load(tmp_path / "file", map_location="cpu", weights_only=False)["own"]) is Own
    assert type(of_dassl.load(tmp_path / "file", "cpu", pickle, weights_only=False)["own"]) is Own
    optimizer, schedule = optimizer_and_schedule("constant")
    torch.save(schedule.state_dict(), tmp_path / "schedule")
    with pytest.raises(pickle.UnpicklingError):
        of_dassl.load(tmp_path / "schedule", weights_only=True)


def test_a_torch_load_that_the_host_has_replaced_is_called_as_dassl_calls_it(tmp_path, monkeypatch):
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda file, **options: load(file, **{"weights_only": False, **options}))
    assert checkpoints.repair() is None  # as before PyTorch 2.6
    torch.save({"own": Own()}, tmp_path / "file")
    assert type(load_checkpoint(str(tmp_path / "file"))["own"]) is Own


def test_its_schedulers_are_left_alone_where_pytorch_takes_verbose(monkeypatch):
    module = sys.modules["dassl.optim.lr_scheduler"]
    plain = torch.optim.lr_scheduler.LRScheduler.__init__
    monkeypatch.setattr(torch.optim.lr_scheduler.LRScheduler, "__init__",
                        lambda self, optimizer, last_epoch=-1, verbose=False: plain(self, optimizer, last_epoch))

    def init(self, optimizer, successor, warmup_epoch, last_epoch=-1, verbose=False):
        self.successor, self.warmup_epoch = successor, warmup_epoch
        super(module._BaseWarmupScheduler, self).__init__(optimizer, last_epoch, verbose)
    monkeypatch.setattr(module._BaseWarmupScheduler, "__init__", init)
    assert patches.schedulers() is None and module._BaseWarmupScheduler.__init__ is init  # as before PyTorch 2.7


def test_augmentations_find_numpys_and_pillows_old_names():
    assert np.array([1.9]).astype(np.int).tolist() == [1]
    assert Image.LANCZOS == getattr(Image, "ANTIALIAS", Image.LANCZOS)
    assert patches.numpy_names(engine.dassl) is None  # nothing is left to do
    assert patches.pillow_names(engine.dassl) is None


def test_warnings_stay_on_after_the_import():
    assert logging.root.manager.disable == 0


def test_wilds_is_left_out_only_where_it_is_not_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, patches.WILDS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert patches.without_wilds(engine.dassl) is None and patches.WILDS not in sys.modules
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "wilds" in patches.without_wilds(engine.dassl)
    assert sys.modules[patches.WILDS].__doc__.startswith("Stands for")


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="a.jpg"):
        sys.modules["dassl.data.data_manager"].read_image(str(tmp_path / "a.jpg"))


def test_every_repair_is_told_once_and_dassl_named():
    assert len(engine.repaired) == len(set(engine.repaired))
    assert engine.describe().startswith("Dassl 0.6.3 at ") and f"{len(engine.repaired)} repairs" in engine.describe()


def test_a_dassl_that_cannot_be_imported_is_named_with_what_to_do(monkeypatch):
    def fail(name):
        raise ModuleNotFoundError("No module named 'tensorboard'")
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(SetupError, match="tensorboard.*uninstall it: minidassl"):
        patches.repair(engine.dassl)


def test_the_trainers_stand_on_it():
    from dassl.engine import TrainerX
    assert inspect.getmodule(TrainerX).__name__ == "dassl.engine.trainer"
    assert issubclass(trainers.base.PromptTrainer, TrainerX)
    assert pickle.loads(pickle.dumps(get_cfg_default())) == get_cfg_default()
