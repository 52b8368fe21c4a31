"""Nothing is lost: states within an epoch, signals, damaged and foreign files in the output folder, best results."""
import contextlib
import errno
import io
import json
import os
import random
import signal
import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch
from support.cases import make
from support.paths import ROOT

import trainers.training.run
from trainers.base import PromptTrainer
from trainers.config import defaults
from trainers.errors import InputError, Interrupted
from trainers.training import checkpoint, loader, signals, trainer
from trainers.training.random_state import random_state
from trainers.training.run import main
from trainers.utils import atomic, lock


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    signals._reset()


class Stop(Exception):
    """Ends a training where a process would have died."""


def content(output, name="model.pth.tar-3"):
    return checkpoint.read_checkpoint(next(Path(output).glob(f"*/{name}")))


def assert_same_bits(one, other):
    for part in ("state_dict", "extra"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    assert torch.equal(one["random"]["torch"], other["random"]["torch"])
    for a, b in zip(one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True):
        assert torch.equal(a["momentum_buffer"], b["momentum_buffer"])


def test_a_full_disk_is_the_disks_fault(tmp_path, monkeypatch):
    """PyTorch's own complaint, once a write to its file has failed, does not name the disk."""
    class Full(io.BytesIO):
        def write(self, data):
            if len(data) > 4096:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)
    monkeypatch.setattr(atomic, "atomic_open", lambda path: contextlib.nullcontext(Full()))
    with pytest.raises(OSError):
        checkpoint.write_checkpoint({"ctx": torch.zeros(30_000)}, tmp_path / "model.pth.tar-1")


# ---- within an epoch

@pytest.mark.parametrize("case", ["promptsrc", "coop_end", "prograd"])
@pytest.mark.parametrize("epoch, batch", [(0, 1), (2, 2)])
def test_state_within_an_epoch_is_resumed_to_the_bit(case, epoch, batch, weights, tmp_path, monkeypatch):
    torch.manual_seed(1)
    make(case, weights, tmp_path / "whole").train()
    monkeypatch.setattr(PromptTrainer, "interim_due",
                        lambda self: (self.epoch, self.batch_idx + 1) == (epoch, batch))
    torch.manual_seed(1)
    stopped = make(case, weights, tmp_path / "parts")
    save = stopped.save_interim

    def save_and_die():
        save()
        raise Stop
    stopped.save_interim = save_and_die
    with pytest.raises(Stop):
        stopped.train()
    monkeypatch.undo()
    torch.manual_seed(99)
    resumed = make(case, weights, tmp_path / "parts")
    resumed.train()
    assert len(resumed.record) == 9 - 3 * epoch - batch, "no batch twice, none left out"
    assert_same_bits(content(tmp_path / "whole"), content(tmp_path / "parts"))
    assert not list((tmp_path / "parts").rglob(checkpoint.INTERIM))


@pytest.mark.parametrize("schedule", [["cosine"], ["single_step", "OPTIM.STEPSIZE", [1]],
                                      ["multi_step", "OPTIM.STEPSIZE", [1, 2]]], ids=lambda schedule: schedule[0])
def test_a_schedule_without_warmup_is_resumed(schedule, weights, tmp_path, monkeypatch):
    settings = ["OPTIM.WARMUP_EPOCH", -1, "OPTIM.LR_SCHEDULER", *schedule]
    torch.manual_seed(1)
    make("coop_end", weights, tmp_path / "whole", settings=settings).train()
    torch.manual_seed(1)
    stopped = make("coop_end", weights, tmp_path / "parts", settings=settings)
    stopped.after_epoch = lambda: PromptTrainer.after_epoch(stopped) or (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        stopped.train()
    resumed = make("coop_end", weights, tmp_path / "parts", settings=settings)
    resumed.train()
    assert len(resumed.record) == 6
    assert_same_bits(content(tmp_path / "whole"), content(tmp_path / "parts"))
    assert resumed.get_current_lr() < resumed.cfg.OPTIM.LR


def test_minutes_between_checkpoints(weights, tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trainer = make("coop_end", weights, tmp_path, settings=["TRAIN.CHECKPOINT_MINUTES", 2])
    step, save = trainer.forward_backward, trainer.save_interim

    def slow_step(batch):
        now[0] += 90
        return step(batch)

    def noted():
        saved.append((trainer.epoch, trainer.batch_idx))
        save()
    trainer.forward_backward, trainer.save_interim = slow_step, noted
    trainer.train()
    assert saved == [(0, 1), (1, 1), (2, 1)], "two minutes after the epoch's own checkpoint"


def test_older_state_within_an_epoch_gives_way(weights, tmp_path):
    """Killed after the epoch's checkpoint was written and before the state within it was removed."""
    trainer = make("coop_end", weights, tmp_path)
    trainer.train()
    folder = tmp_path / "prompt_learner"
    trainer.epoch, trainer.state.batch, trainer.state.epoch_random = 2, 1, random_state()
    checkpoint.save_interim(trainer, tmp_path)
    (folder / "model.pth.tar-2").write_bytes((folder / "model.pth.tar-3").read_bytes())
    again = make("coop_end", weights, tmp_path)
    assert again.resume_model_if_exist(str(tmp_path)) == 3 and again.state.batch == 0
    assert [p.name for p in folder.iterdir()] == ["model.pth.tar-3"]


def test_damaged_state_falls_back_on_the_one_before(weights, tmp_path, caplog):
    trainer = make("coop_end", weights, tmp_path)
    trainer.train()
    folder = tmp_path / "prompt_learner"
    (folder / checkpoint.INTERIM).write_bytes(b"torn")
    again = make("coop_end", weights, tmp_path)
    assert again.resume_model_if_exist(str(tmp_path)) == 3
    assert "interim.pth.tar cannot be read as a checkpoint" in caplog.text
    assert "resuming from the one before" in caplog.text


def test_every_flipped_bit_of_a_tensor_is_noticed(weights, tmp_path):
    make("coop_end", weights, tmp_path).train()
    path = tmp_path / "prompt_learner" / "model.pth.tar-3"
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        parts = [info for info in file.infolist() if "/data/" in info.filename and info.file_size > 1000]
    draw = random.Random(0)
    for _ in range(20):
        part = draw.choice(parts)
        at = part.header_offset + 30 + len(part.filename) + draw.randrange(100, part.file_size)
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1:])
        with pytest.raises(InputError, match="has changed since it was written"):
            checkpoint.read_checkpoint(path)
    path.write_bytes(raw)
    checkpoint.read_checkpoint(path)


def test_own_state_wins_over_the_folder_to_resume_from(weights, tmp_path):
    """--resume ELSEWHERE, killed and started again: on from its own last epoch, not from ELSEWHERE once more."""
    first = make("coop_end", weights, tmp_path / "elsewhere")
    first.before_epoch = lambda: (_ for _ in ()).throw(Stop) if first.epoch == 1 else None
    with pytest.raises(Stop):
        first.train()
    make("coop_end", weights, tmp_path / "own").train()
    again = make("coop_end", weights, tmp_path / "own", settings=["RESUME", str(tmp_path / "elsewhere")])
    assert again.resume_model_if_exist(again.cfg.RESUME) == 3
    assert make("coop_end", weights, tmp_path / "new").resume_model_if_exist(str(tmp_path / "elsewhere")) == 1


def test_best_result_outlasts_a_kill(weights, tmp_path):
    """TEST.FINAL_MODEL best_val: an epoch after the resumption that is worse than the best must not replace it."""
    def train(folder, stop):
        trainer = make("coop_end", weights, folder, settings=["TEST.FINAL_MODEL", "best_val", "TEST.NO_TEST", False])
        results = {0: 50.0, 1: 80.0, 2: 60.0}
        trainer.val_loader = []  # there are validation images
        trainer.test = lambda split=None: results[trainer.epoch]
        trainer.before_epoch = lambda: (_ for _ in ()).throw(Stop) if trainer.epoch == stop else None
        trainer.train()
    with pytest.raises(Stop):
        train(tmp_path, 2)
    train(tmp_path, None)
    assert content(tmp_path, "model-best.pth.tar")["epoch"] == 2
    assert content(tmp_path)["best_result"] == 80.0


def test_loader_goes_on_within_an_epoch():
    batches = loader.SeededBatchSampler(10, 3, False)
    for workers in (0, 1):
        whole = loader.EpochLoader(Numbers(), batches, workers, False)
        torch.manual_seed(5)
        expected = [b.tolist() for b in whole]
        torch.manual_seed(5)
        assert [b.tolist() for b in loader.batches_from(whole, 2)] == expected[2:]
        assert len(list(whole)) == 4, "the next epoch is a whole one again"
    assert list(loader.batches_from([1, 2, 3], 2)) == [3]


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, pair):
        return torch.tensor(pair)

    def fill(self):
        pass


# ---- signals

@pytest.mark.parametrize("name", signals.NAMES)
def test_signal_waits_while_a_trainer_holds(name):
    with signals.watched():
        signals.defer_signals()
        os.kill(os.getpid(), getattr(signal, name))
        assert signals.signal_pending()
        with pytest.raises(Interrupted, match=f"interrupted by {name}, saved"):
            signals.allow_signals("saved")
    assert not signals.signal_pending()


def test_signal_ends_what_nobody_holds():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="interrupted by SIGTERM$"), signals.watched():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_left_alone_in_other_threads():
    before = signal.getsignal(signal.SIGTERM)

    def work():
        with signals.watched():
            assert signal.getsignal(signal.SIGTERM) is before
            found.append(1)
    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found


def test_signal_to_a_loaders_worker_does_not_end_it():
    """SLURM signals the whole group: the worker goes on, so that the main process can finish the step."""
    numbers = loader.EpochLoader(Numbers(), loader.SeededBatchSampler(10, 3, False), 1, False)
    batches = iter(numbers)
    next(batches)
    for worker in batches._workers:
        for name in signals.NAMES:
            os.kill(worker.pid, getattr(signal, name))
    assert len(list(batches)) == 3
    assert all(worker.is_alive() for worker in batches._workers)


# ---- the command line

DEMO = ["--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"),
        "--config-file", str(ROOT / "configs/trainers/CoOp/demo.yaml"), "--seed", "1", "--trainer", "CoOp"]
QUICK = ["DATASET.NUM_SHOTS", "2", "DATASET.SUBSAMPLE_CLASSES", "base", "DATALOADER.TRAIN_X.BATCH_SIZE", "3",
         "OPTIM.MAX_EPOCH", "3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The output folder of a run that nothing has disturbed (the second: the first has drawn the few-shot set)."""
    out = tmp_path_factory.mktemp("whole")
    for name in ("first", "second"):
        assert main([*DEMO, "--root", data, "--output-dir", str(out / name), *QUICK]) == 0
    return out / "second"


def interrupted(data, out, monkeypatch, at, name="SIGTERM", more=()):
    """Run until a signal in the step ``at`` (epoch, batch); returns the exit code."""
    step = PromptTrainer.forward_backward

    def signalled(self, batch):
        if (self.epoch, self.batch_idx) == at:
            os.kill(os.getpid(), getattr(signal, name))
        return step(self, batch)
    with monkeypatch.context() as patch:
        patch.setattr(PromptTrainer, "forward_backward", signalled)
        return main([*DEMO, "--root", data, "--output-dir", str(out), *more, *QUICK])


@pytest.mark.parametrize("at, name, words", [
    ((1, 0), "SIGTERM", "saved in epoch 2 after batch 1 of 3"),
    ((1, 2), "SIGUSR1", "saved after epoch 2 of 3"),
])
def test_signal_saves_and_the_same_command_goes_on(at, name, words, whole, data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert interrupted(data, out, monkeypatch, at, name) == 75
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"interrupted by {name}, {words}; the same command goes on from there"
    assert not (out / lock.NAME).exists() and not (out / "result.json").exists()
    assert main([*DEMO, "--root", data, "--output-dir", str(out), *QUICK]) == 0
    assert_same_bits(content(out), content(whole))
    results = [json.loads((folder / "result.json").read_text())["results"] for folder in (out, whole)]
    assert results[0] == results[1]
    assert not list(out.rglob(checkpoint.INTERIM))


class Swallows:
    """Python drops what is raised while an object is taken away."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_second_signal_disturbs_no_run_that_leaves_and_ends_one_that_does_not(monkeypatch):
    with pytest.raises(Interrupted), signals.watched():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        finally:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.01)
            cleaned = True
    assert cleaned
    monkeypatch.setattr(signals, "PATIENCE", 0.0)
    with pytest.raises(Interrupted, match="SIGUSR1"), signals.watched():
        Swallows()
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(1)


def test_a_launcher_that_dies_takes_its_processes_along(tmp_path):
    """torchrun is ended by SIGUSR1, SLURM's warning, and hands it on to nobody."""
    launcher = os.fork()
    if launcher == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, lambda *_: ((tmp_path / "asked").touch(), os._exit(0)))
            signals.end_with_parent()
            (tmp_path / "ready").touch()
            time.sleep(30)
            os._exit(1)
        time.sleep(30)
        os._exit(1)
    for name, number in (("ready", signal.SIGUSR1), ("asked", 0)):
        for _ in range(100):
            if (tmp_path / name).exists():
                break
            time.sleep(0.1)
        assert (tmp_path / name).exists()
        if number:
            os.kill(launcher, number)
            os.waitpid(launcher, 0)


def test_an_unseeded_run_goes_on_with_its_own_images(data, tmp_path, monkeypatch, capsys):
    seen, load = [], trainer.train_loader

    def noted(cfg, dm, *args):
        seen.append([item.impath for item in dm.dataset.train_x])
        return load(cfg, dm, *args)
    monkeypatch.setattr(trainer, "train_loader", noted)
    unseeded = ["--seed", "-1"]
    assert interrupted(data, tmp_path / "out", monkeypatch, (1, 0), more=unseeded) == 75
    for folder in ("out", "other"):
        assert main([*DEMO, "--root", data, "--output-dir", str(tmp_path / folder), *unseeded, *QUICK]) == 0
    assert "Resumed from " in capsys.readouterr().out
    assert seen[0] == seen[1] != seen[2]


def test_a_run_goes_on_after_a_method_was_added(data, tmp_path, monkeypatch, capsys):
    """Its keys are in no config that was written before; at their defaults they change nothing, else they do."""
    out = tmp_path / "out"
    assert interrupted(data, out, monkeypatch, (1, 0)) == 75
    monkeypatch.setitem(defaults._DECLARED, "ADDED", {"SHARE": 0.5})
    command = [*DEMO, "--root", data, "--output-dir", str(out), *QUICK]
    assert main([*command, "TRAINER.ADDED.SHARE", "0.7"]) == 2
    assert "(TRAINER.ADDED.SHARE is 0.5 there, 0.7 here)" in capsys.readouterr().err
    assert main(command) == 0 and "Resumed from " in capsys.readouterr().out


def test_unfinished_run_with_another_config_is_refused(whole, data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert interrupted(data, out, monkeypatch, (1, 0)) == 75
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    capsys.readouterr()
    command = [*DEMO, "--root", data, "--output-dir", str(out)]
    assert main([*command, *QUICK, "OPTIM.LR", "0.004", "TRAINER.COOP.N_CTX", "8"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{out} holds an unfinished run with another config (OPTIM.LR is 0.002 there, 0.004 here; " in said
    assert "TRAINER.COOP.N_CTX is 4 there, 8 here" in said
    assert main([*command, "--trainer", "ProGrad", *QUICK]) == 2
    assert "TRAINER.NAME is CoOp there, ProGrad here" in capsys.readouterr().err
    assert main([*command, "--eval-only", "--model-dir", str(whole), *QUICK]) == 2
    assert "interim.pth.tar is of a training that has done 1 of 3 epochs: finish it" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before
    assert main([*command, *QUICK, "TRAIN.PRINT_FREQ", "1", "TRAIN.CHECKPOINT_FREQ", "1"]) == 0, "neither changes a bit"
    assert_same_bits(content(out), content(whole))


def test_leftovers_of_killed_writers_are_removed(data, tmp_path):
    out = tmp_path / "out"
    (out / "prompt_learner").mkdir(parents=True)
    for left in (out / "prompt_learner" / ".model.pth.tar-1.abc.part", out / ".result.json.abc.part"):
        left.write_bytes(b"half")
    assert main([*DEMO, "--root", data, "--output-dir", str(out), *QUICK]) == 0
    assert not list(out.rglob("*.part"))


def test_resuming_elsewhere_takes_the_same_run_alone(whole, data, tmp_path, capsys):
    """A figure of another seed, or of nothing resumed, would stand in the table as this run's."""
    command = [*DEMO, "--root", data, "--output-dir", str(tmp_path / "out"), "--resume"]
    nothing = "there is no run in this folder"
    for place, words, said in ((whole, ["SEED", "5"], "SEED is "), (whole, ["OPTIM.LR", "0.1"], "OPTIM.LR is "),
                               (tmp_path, [], nothing), (tmp_path / "none", [], nothing)):
        assert main([*command, str(place), *QUICK, *words]) == 2
        error = capsys.readouterr().err
        assert said in error and str(place) in error and not (tmp_path / "out").exists()
    assert main([*command, str(whole), *QUICK]) == 0
    assert "Resumed from " in capsys.readouterr().out


def test_a_run_that_was_killed_behind_its_result_leaves_no_lock(data, tmp_path, capsys):
    command = [*DEMO, "--root", data, "--output-dir", str(tmp_path / "out"), *QUICK]
    assert main(command) == 0
    (tmp_path / "out" / "run.lock").write_text(json.dumps({**lock._identity(), "start": "1"}))
    assert main(command) == 0
    assert "not run again" in capsys.readouterr().out and not (tmp_path / "out" / "run.lock").exists()


@pytest.mark.parametrize("more", [[], ["--eval-only", "--model-dir", "MODEL", "--load-epoch", "3"]])
def test_second_run_or_evaluation_in_a_folder_in_use(more, whole, data, tmp_path, capsys):
    out = tmp_path / "out"
    more = [str(whole) if word == "MODEL" else word for word in more]
    with lock.held(out):
        assert main([*DEMO, "--root", data, "--output-dir", str(out), *more, *QUICK]) == 3
        said = capsys.readouterr().err
        assert f"error: {out} is in use by process {os.getpid()} on " in said and said.count("\n") == 1
        assert [p.name for p in out.iterdir()] == [lock.NAME]


def test_lock_goes_with_an_error(data, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def broken(self, batch):
        assert (out / lock.NAME).exists()
        raise ZeroDivisionError
    monkeypatch.setattr(PromptTrainer, "forward_backward", broken)
    with pytest.raises(ZeroDivisionError):
        main([*DEMO, "--root", data, "--output-dir", str(out), *QUICK])
    assert (out / "log.txt").exists() and not (out / lock.NAME).exists()


def test_under_torchrun_the_first_process_alone_locks(data, tmp_path, monkeypatch):
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"),
                        ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    out = tmp_path / "out"
    monkeypatch.setattr(trainers.training.run, "build_and_run", lambda *_: None)
    with lock.held(out):
        assert main([*DEMO, "--root", data, "--output-dir", str(out), *QUICK]) == 0


def test_ctrl_c_is_one_line(data, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(trainers.training.run, "build_and_run", stop)
    assert main([*DEMO, "--root", data, "--output-dir", str(tmp_path / "out"), *QUICK]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from there\n"
