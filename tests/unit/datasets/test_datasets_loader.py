"""The training loader on a real few-shot set: kept images change nothing but the time."""
import os
import signal
import subprocess
import sys

import pytest
import torch
from support import miniature
from support.paths import ROOT

import datasets
import trainers  # noqa: F401  it adds its keys to the default config
from trainers.training import loader

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl
from dassl.data import DataManager  # isort: skip
from dassl.utils import set_random_seed  # isort: skip


@pytest.fixture
def manager(tmp_path):
    miniature.build("Food101", tmp_path)
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATASET.NAME", "Food101", "DATASET.ROOT", str(tmp_path), "DATASET.NUM_SHOTS", 4, "SEED", 1,
                         "DATASET.ALLOW_INCOMPLETE", True,
                         "INPUT.SIZE", (8, 8), "DATALOADER.TRAIN_X.BATCH_SIZE", 4, "VERBOSE", False,
                         "INPUT.TRANSFORMS", ["random_resized_crop", "random_flip", "normalize"]])
    datasets.check(cfg)
    return DataManager(cfg)


def epochs(manager, workers, budget, monkeypatch, number=2):
    monkeypatch.setattr(loader, "num_cpus", lambda: workers + 1 if workers else 1)
    config = get_cfg_default()
    config.merge_from_list(["DATALOADER.NUM_WORKERS", workers, "DATALOADER.TRAIN_X.BATCH_SIZE", 4])
    set_random_seed(1)
    made = loader.train_loader(config, manager, manager.train_loader_x, budget)
    assert isinstance(made, loader.EpochLoader)
    batches = [batch for _ in range(number) for batch in made]
    return made, torch.cat([batch["img"] for batch in batches]), [path for batch in batches for path in batch["impath"]]


def test_kept_images_and_workers_change_nothing(manager, monkeypatch):
    made, images, paths = epochs(manager, 0, 2 ** 20, monkeypatch)
    assert len(made.dataset.kept) == 12 and images.shape == (24, 3, 8, 8)
    assert sorted(paths[:12]) == sorted(paths[12:]) == sorted(item.impath for item in manager.dataset.train_x)
    assert not torch.equal(images[:12], images[12:])
    for workers, budget in ((0, 0), (0, 3000), (2, 2 ** 20)):
        other, same, order = epochs(manager, workers, budget, monkeypatch)
        assert len(other.dataset.kept) == {0: 0, 3000: 5}.get(budget, 12)
        assert torch.equal(same, images) and order == paths


def test_a_damaged_image_is_named(manager, monkeypatch):
    path = manager.dataset.train_x[5].impath
    with open(path, "wb") as file:
        file.write(miniature.PICTURE[:-60])
    for workers in (0, 2):
        with pytest.raises(datasets.home.InputError, match=path):
            epochs(manager, workers, 0 if workers else 2 ** 20, monkeypatch)


def test_other_samplers_and_views_are_left_to_dassl(manager):
    config = get_cfg_default()
    config.merge_from_list(["DATALOADER.TRAIN_X.SAMPLER", "RandomClassSampler"])
    assert loader.train_loader(config, manager, manager.train_loader_x, 0) is manager.train_loader_x
    config = get_cfg_default()
    config.merge_from_list(["DATALOADER.K_TRANSFORMS", 2])
    assert loader.train_loader(config, manager, manager.train_loader_x, 0) is manager.train_loader_x


def test_a_loader_that_is_alive_at_exit_does_not_hold_the_process():
    """Its workers ignore SIGTERM, by which multiprocessing would end them before it waits for them."""
    script = """
from trainers.training.loader import EpochLoader, SeededBatchSampler
class Images:
    def __getitem__(self, pair):
        return pair[0]
    def fill(self):
        pass
loader = EpochLoader(Images(), SeededBatchSampler(8, 2, True), 2, False)
batches = iter(loader)
next(batches)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, start_new_session=True) as process:
        try:
            assert process.wait(60) == 0
        finally:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
