import datetime
import os
import time
from collections import OrderedDict

import torch
from torch import nn
from tqdm import tqdm

from ..data import DataManager
from ..errors import ConfigError, MissingFileError
from ..evaluation import build_evaluator
from ..modeling import build_backbone, build_head
from ..optim import build_lr_scheduler, build_optimizer
from ..utils import (
    AverageMeter,
    MetricMeter,
    count_num_param,
    load_checkpoint,
    load_pretrained_weights,
    mkdir_if_missing,
    resume_from_checkpoint,
    save_checkpoint,
    tolist_if_not,
)


class SimpleNet(nn.Module):
    """A backbone, a head where the config names one, and a linear classifier where ``num_classes`` is above 0."""

    def __init__(self, cfg, model_cfg, num_classes, **kwargs):
        super().__init__()
        backbone, head = model_cfg.BACKBONE, model_cfg.HEAD
        self.backbone = build_backbone(backbone.NAME, verbose=cfg.VERBOSE, pretrained=backbone.PRETRAINED, **kwargs)
        self.fdim = self.backbone.out_features
        self.head = None
        if head.NAME and head.HIDDEN_LAYERS:
            self.head = build_head(head.NAME, verbose=cfg.VERBOSE, in_features=self.fdim, bn=head.BN,
                                   hidden_layers=head.HIDDEN_LAYERS, activation=head.ACTIVATION, dropout=head.DROPOUT)
            self.fdim = self.head.out_features
        self.classifier = nn.Linear(self.fdim, num_classes) if num_classes > 0 else None

    def forward(self, x, return_feature=False):
        """Map images ``[B, 3, H, W]`` to logits ``[B, C]`` (and features ``[B, fdim]`` if asked for), or to features
        alone where there is no classifier."""
        features = self.backbone(x)
        if self.head is not None:
            features = self.head(features)
        if self.classifier is None:
            return features
        logits = self.classifier(features)
        return (logits, features) if return_feature else logits


class TrainerBase:
    """Named models with their optimizers and schedulers, their checkpoints, and the order of events in training.

    The events are methods to override: before_train, before_epoch, run_epoch, after_epoch, after_train.
    """

    def __init__(self):
        self._models = OrderedDict()
        self._optims = OrderedDict()
        self._scheds = OrderedDict()
        self._writer = None

    def register_model(self, name="model", model=None, optim=None, sched=None):
        """Put a model, with optimizer and scheduler where it learns, among those that are saved, loaded and stepped."""
        if "_models" not in self.__dict__:
            raise AttributeError("call super().__init__() before register_model()")
        if name in self._models:
            raise ValueError(f"a model named {name!r} is already registered")
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names=None):
        """Return the names of all models, or, as a list, the given ones, which must be registered."""
        if names is None:
            return list(self._models)
        names = tolist_if_not(names)
        unknown = [name for name in names if name not in self._models]
        if unknown:
            raise KeyError(f"no models {unknown} are registered, but {list(self._models)}")
        return names

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name=""):
        """Write a checkpoint of each model to ``directory``/name, after epoch ``epoch`` (from 0)."""
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            save_checkpoint(
                {
                    "state_dict": self._models[name].state_dict(),
                    "epoch": epoch + 1,
                    "optimizer": None if optim is None else optim.state_dict(),
                    "scheduler": None if sched is None else sched.state_dict(),
                    "val_result": val_result,
                },
                os.path.join(directory, name), is_best=is_best, model_name=model_name,
            )

    def resume_model_if_exist(self, directory):
        """Load the last checkpoint of every model under ``directory``, if all have one.

        Returns:
            The epoch to start with, 0 if there was nothing to load.
        """
        folders = {name: os.path.join(directory, name) for name in self.get_model_names()}
        if not folders or not all(os.path.isfile(os.path.join(f, "checkpoint")) for f in folders.values()):
            print("No checkpoint found, train from scratch")
            return 0
        print(f"Found checkpoint at {directory} (will resume training)")
        return [resume_from_checkpoint(folder, self._models[name], self._optims[name], self._scheds[name])
                for name, folder in folders.items()][-1]

    def load_model(self, directory, epoch=None):
        """Load the weights of every model under ``directory``: those of an epoch (from 1), or the best.

        Raises:
            FileNotFoundError: a model has no such checkpoint.
        """
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        file = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = os.path.join(directory, name, file)
            if not os.path.isfile(path):
                raise MissingFileError(f"No model at {path}")
            checkpoint = load_checkpoint(path)
            val_result = checkpoint.get("val_result")
            told = f"epoch={checkpoint['epoch']}" + ("" if val_result is None else f", val_result={val_result:.1f}")
            print(f"Load {path} to {name} ({told})")
            self._models[name].load_state_dict(checkpoint["state_dict"])

    def set_model_mode(self, mode="train", names=None):
        """Put models into ``train`` mode, or into evaluation mode (``test``, ``eval``)."""
        if mode not in ("train", "test", "eval"):
            raise KeyError(f"a model's mode is train, test or eval, not {mode!r}")
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names=None):
        """Step the schedulers; trainers do so at the end of an epoch."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names=None):
        """Return the learning rate of the first model's first parameter group."""
        return self._optims[self.get_model_names(names)[0]].param_groups[0]["lr"]

    def detect_anomaly(self, loss):
        if not torch.isfinite(loss).all():
            raise FloatingPointError("Loss is infinite or NaN!")

    def init_writer(self, log_dir):
        """Start writing to tensorboard, if it is installed."""
        if self._writer is not None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("tensorboard is not installed: the curves of this run are in its log alone")
            return
        print(f"Initialize tensorboard (log_dir={log_dir})")
        self._writer = SummaryWriter(log_dir=log_dir)

    def close_writer(self):
        if self._writer is not None:
            self._writer.close()

    def write_scalar(self, tag, scalar_value, global_step=None):
        """Write a number to tensorboard; does nothing outside of training."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    def train(self, start_epoch, max_epoch):
        """Train epochs ``start_epoch`` to ``max_epoch - 1``; before_train may move ``self.start_epoch``."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        self.before_train()
        for self.epoch in range(self.start_epoch, self.max_epoch):
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self):
        pass

    def after_train(self):
        pass

    def before_epoch(self):
        pass

    def after_epoch(self):
        pass

    def run_epoch(self):
        raise NotImplementedError

    def test(self):
        raise NotImplementedError

    def parse_batch_train(self, batch):
        raise NotImplementedError

    def parse_batch_test(self, batch):
        raise NotImplementedError

    def forward_backward(self, batch):
        raise NotImplementedError

    def model_inference(self, input):
        raise NotImplementedError

    def model_zero_grad(self, names=None):
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss):
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names=None):
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(self, loss, names=None):
        """Do one optimization step of the named models (default: all); FloatingPointError if the loss is not finite."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)


class SimpleTrainer(TrainerBase):
    """A trainer built from a config: data, model, evaluator, checkpoints, final test.

    Attributes:
        cfg, device, output_dir, max_epoch, start_epoch, epoch: epoch is the current one, from 0.
        dm: the DataManager; its loaders and figures are attributes of the trainer, too.
        evaluator: what ``test`` hands its outputs to.
        best_result: the best validation result so far (TEST.FINAL_MODEL best_val).
    """

    def __init__(self, cfg):
        super().__init__()
        self.check_cfg(cfg)
        self.device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = -float("inf")

    def check_cfg(self, cfg):
        """Override to reject a config that the trainer cannot work with, before anything is built."""

    def build_data_loader(self):
        """Set the loaders and what is known of the classes; an override must set the same, but ``dm``."""
        self.dm = dm = DataManager(self.cfg)
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname

    def build_model(self):
        """Build a SimpleNet with optimizer and scheduler and register it as ``model``."""
        cfg = self.cfg
        print("Building model")
        self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        print(f"# params: {count_num_param(self.model):,}")
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def train(self):  # type: ignore[override]  # Dassl's interface
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST and self.val_loader is None:
            raise ConfigError(f"TEST.FINAL_MODEL best_val: no validation images in {self.cfg.DATASET.NAME}")
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self):
        self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.cfg.OUTPUT_DIR)
        writer_dir = os.path.join(self.output_dir, "tensorboard")
        mkdir_if_missing(writer_dir)
        self.init_writer(writer_dir)
        self.time_start = time.time()

    def after_train(self):
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                print("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        print(f"Elapsed: {datetime.timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

    def after_epoch(self):
        cfg, done = self.cfg, self.epoch + 1
        if cfg.TEST.FINAL_MODEL == "best_val" and not cfg.TEST.NO_TEST:
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name="model-best.pth.tar")
        due = cfg.TRAIN.CHECKPOINT_FREQ > 0 and done % cfg.TRAIN.CHECKPOINT_FREQ == 0
        if due or done == self.max_epoch:
            self.save_model(self.epoch, self.output_dir)

    @torch.no_grad()
    def test(self, split=None):
        """Evaluate on the ``test`` or ``val`` set (default: TEST.SPLIT).

        Returns:
            The evaluator's first figure, the accuracy in percent.

        Raises:
            ValueError: there is no val set (Dassl would take the test set).
        """
        split = split or self.cfg.TEST.SPLIT
        if split == "val" and self.val_loader is None:
            raise ConfigError(f"TEST.SPLIT val: no validation images in {self.cfg.DATASET.NAME}")
        self.set_model_mode("eval")
        self.evaluator.reset()
        split, data_loader = ("val", self.val_loader) if split == "val" else ("test", self.test_loader)
        print(f"Evaluate on the *{split}* set")
        for batch in tqdm(data_loader):
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input):
        return self.model(input)

    def parse_batch_test(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def _run_batches(self, batches, num_batches):
        """Hand each of the tuples ``batches`` to forward_backward; keep and print time, losses and learning rate."""
        self.set_model_mode("train")
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        self.num_batches = num_batches
        print_freq = self.cfg.TRAIN.PRINT_FREQ
        end = time.time()
        for self.batch_idx, batch in enumerate(batches):
            data_time.update(time.time() - end)
            losses.update(self.forward_backward(*batch))
            batch_time.update(time.time() - end)

            done = self.batch_idx + 1
            if done % print_freq == 0 or num_batches < print_freq:
                remaining = num_batches - done + (self.max_epoch - self.epoch - 1) * num_batches
                eta = datetime.timedelta(seconds=int(batch_time.avg * remaining))
                print(f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{done}/{num_batches}] "
                      f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) "
                      f"data {data_time.val:.3f} ({data_time.avg:.3f}) "
                      f"{losses} lr {self.get_current_lr():.4e} eta {eta}")

            step = self.epoch * num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", self.get_current_lr(), step)
            end = time.time()


class TrainerX(SimpleTrainer):
    """A trainer on labelled data: ``forward_backward(batch)`` does a step and returns a dict of losses."""

    def run_epoch(self):
        self._run_batches(((batch,) for batch in self.train_loader_x), len(self.train_loader_x))

    def parse_batch_train(self, batch):
        """Return images, labels and domains on the device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))


def _endless(loader):
    while True:
        yield from loader


class TrainerXU(SimpleTrainer):
    """A trainer on labelled and unlabelled data: ``forward_backward(batch_x, batch_u)``."""

    def run_epoch(self):
        if self.train_loader_u is None:
            raise ConfigError(f"{type(self).__name__} also learns from unlabelled images, and the dataset "
                              f"{self.cfg.DATASET.NAME} has none (train_u)")
        x, u = len(self.train_loader_x), len(self.train_loader_u)
        counts = {"train_x": x, "train_u": u, "smaller_one": min(x, u)}
        if self.cfg.TRAIN.COUNT_ITER not in counts:
            raise ConfigError(f"TRAIN.COUNT_ITER is one of {list(counts)}, not {self.cfg.TRAIN.COUNT_ITER!r}")
        num_batches = counts[self.cfg.TRAIN.COUNT_ITER]
        pairs = zip(range(num_batches), _endless(self.train_loader_x), _endless(self.train_loader_u), strict=False)
        self._run_batches(((batch_x, batch_u) for _, batch_x, batch_u in pairs), num_batches)

    def parse_batch_train(self, batch_x, batch_u):  # type: ignore[override]  # Dassl's interface
        """Return images and labels of the labelled, images of the unlabelled batch, on the device."""
        return batch_x["img"].to(self.device), batch_x["label"].to(self.device), batch_u["img"].to(self.device)
