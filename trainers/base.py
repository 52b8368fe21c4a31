"""PromptTrainer: what every method shares: build, one training step, evaluation, saving and loading.

A method's own module declares its config keys and says what its prompts are and what its loss is:

    class Mine(PromptTrainer):
        SECTION, FOLDER = "MINE", "prompt_learner"
        def build_prompts(self): ...      # fill self.prompts, lay out self.rows
        def objective(self, images, labels): ...  # -> loss, {name: figure}
"""
import datetime
import functools
import logging
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from dassl.engine import TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import AverageMeter, MetricMeter

from .clip import load_clip, pack
from .clip.zero_shot import template_features
from .compat.registry import TRAINERS
from .config.defaults import HOUSE, declare, settings
from .config.yaml_text import dumped
from .errors import InputError
from .prompts import Prompts
from .training import checkpoint, distributed, identity, input_checks, signals, validation
from .training.compatibility import OVERRIDE, load_into
from .training.evaluation import shared_out
from .training.loader import batches_from, train_loader
from .training.loss_scale import LossScale, all_finite
from .training.result import figures
from .training.resume import resume
from .training.trained import read_trained

log = logging.getLogger("promptreg")

declare(HOUSE,
        TEXT_MEMORY=1.0,  # GiB for the classes' activations; more classes than fit are run in chunks, recomputed
        IMAGE_MEMORY=1.0,  # GiB of decoded training images kept
        CACHE=True,  # keep frozen text features on disk
        ALLOW_MISMATCH=False)  # use prompts that were trained for something else; the result keeps a note
declare("TRAIN", at_root=True,
        CHECKPOINT_MINUTES=0,  # above 0: also save within an epoch, this often; every epoch's end is saved anyway
        COMPILE=False)  # let torch.compile fuse the forward and backward of the step: minutes at the start

register = TRAINERS.add  # class decorator: enter a trainer in Dassl's registry, unless the host has one of that name


class PromptTrainer(TrainerX):
    """Trains prompts, and nothing else, on a frozen CLIP.

    Attributes:
        clip: the one ``FrozenCLIP``.
        prompts: ``Prompts``, the parameters.
        rows: token rows of the C classes (``clip.prompt_rows``).
        layout: the same, arranged for the text encoder.
        own: this method's config section.

    Raises:
        InputError: the backbone or the method's keys do not fit.
    """

    SECTION: str  # of the method's keys, below TRAINER
    FOLDER = "prompt_learner"  # of the checkpoints, as published
    WHOLE_MODEL = False  # whether published checkpoints there hold the whole model (names with "prompt_learner.")
    forward_only = False  # whether it computes features and logits and nothing else
    FORWARD_KEYS: tuple[str, ...] = ()  # of the section: what decides, besides the prompts, over features and logits

    # ---- build

    def build_data_loader(self):
        """Dassl's data manager, with the training loader that ``loader.py`` describes."""
        distributed.start(self.device)
        if self.cfg.SEED < 0:  # what is drawn from here on is this run's alone, and is drawn again where it goes on
            distributed.share_seed()
            checkpoint.begin_as_before(self.cfg.OUTPUT_DIR, self.cfg.RESUME)
            self.beginning = checkpoint.random_state()
        super().build_data_loader()
        validation.check_split(self)
        budget = settings(self.cfg, HOUSE).IMAGE_MEMORY * 2 ** 30
        self.train_loader_x = train_loader(self.cfg, self.dm, self.train_loader_x, budget)
        self.notes = (*self.notes, *getattr(self.dm.dataset, "notes", ()))  # which it has said

    def build_model(self):
        cfg = self.cfg
        input_checks.check_normalized(self.test_loader)
        clip = load_clip(cfg.MODEL.BACKBONE.NAME, settings(cfg, self.SECTION).PREC, self.device)
        clip.compare_normalization(cfg.INPUT)
        self.assemble(clip, self.dm.dataset.classnames)
        input_checks.report(self)
        self.build_teacher()
        self.loss_scale = LossScale() if self.own.PREC == "amp" else None
        self.parameters = list(self.prompts.parameters())
        if not self.parameters:
            return
        if cfg.MODEL.INIT_WEIGHTS:
            self.load_prompts(cfg.MODEL.INIT_WEIGHTS, as_start=True)
        distributed.broadcast(self.parameters)
        self.optim = build_optimizer(self.prompts, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(self.FOLDER, self.prompts, self.optim, self.sched)
        self.compute = torch.compile(self.objective, dynamic=False) if cfg.TRAIN.get("COMPILE") else self.objective
        print(f"{type(self).__name__}: {sum(p.numel() for p in self.parameters):,} parameters in "
              f"{len(self.parameters)} tensors, {len(self.classnames)} classes, {self.own.PREC} on {self.device}")

    @classmethod
    def without_data(cls, cfg, clip, classnames):
        """Return a trainer that can compute features and logits and nothing else: no data, no optimizer."""
        self = cls.__new__(cls)
        self.cfg, self.forward_only = cfg, True
        self.assemble(clip, classnames)
        self.prompts.eval()
        return self

    def assemble(self, clip, classnames):
        """Set all that features and logits come from: prompts as they start, for ``classnames``, on ``clip``."""
        self.own, self.house = settings(self.cfg, self.SECTION), settings(self.cfg, HOUSE)
        self.clip, self.device, self.classnames = clip, clip.device, list(classnames)
        self.clip.text.budget = int(self.house.TEXT_MEMORY * 2 ** 30)
        self.prompts, self.rows = Prompts(), None
        self.check_own()
        self.build_prompts()
        if self.rows:
            self.layout = pack(self.rows, self.clip.text.chunk_tokens()).to(self.device)
        self.prompts.to(self.device)

    def check_own(self):
        """Raise InputError for numbers of vectors or layers, among the method's keys, that this CLIP cannot have."""
        text, vision = (len(getattr(tower, "blocks", ())) for tower in (self.clip.text, self.clip.vision))
        layers = {"PROMPT_DEPTH_TEXT": text, "PROMPT_DEPTH_VISION": vision, "PROMPT_DEPTH": min(text, vision)}
        for key, value in self.own.items():
            if key == "N_CTX_VISION" and self.own.get("PROMPT_DEPTH_VISION") == 0:
                continue  # no visual prompts at all
            most = layers.get(key) or math.inf  # a vision tower without layers refuses prompts in words of its own
            if key.startswith("N_CTX") and value < 1 or key in layers and not 0 <= value <= most:
                accepted = f"0 to {most}, the backbone's layers" if key in layers else "at least 1"
                raise InputError(f"TRAINER.{self.SECTION}.{key} is {value}: it must be {accepted}")

    def build_prompts(self):
        """Fill ``self.prompts`` and set ``self.rows``."""
        raise NotImplementedError

    def build_teacher(self):
        """Compute what training alone needs: the frozen features that a method's loss compares with."""

    def need_vision_prompts(self):
        """Raise InputError where prompts cannot enter the vision tower."""
        if self.clip.vision.width is None:
            raise InputError(f"{type(self).__name__} puts prompts into a vision transformer: MODEL.BACKBONE.NAME "
                             f"{self.cfg.MODEL.BACKBONE.NAME} has none, choose a ViT")

    def template_features(self, templates, normalize_each=False, exact=False):
        """Return frozen unit features [C, E] of the classes in ``templates`` (see ``frozen.template_features``)."""
        return template_features(self.clip, self.classnames, templates, normalize_each, self.house.CACHE, exact)

    # ---- features and logits

    def text_features(self):
        """Return the prompted unit features [C, E] of all classes."""
        features = self.clip.text(self.layout, self.prompts.context, self.prompts.deep_text)
        return F.normalize(features.float(), dim=-1)

    def image_features(self, images, embedded=None):
        """Return the prompted unit features [B, E] of ``images`` [B, 3, S, S], or of their embedding."""
        embedded = self.clip.vision.embed(images) if embedded is None else embedded
        features = self.clip.vision(embedded, self.prompts.vision, self.prompts.deep_vision)
        return F.normalize(features.float(), dim=-1)

    def logits(self, images):
        """Return logits [B, C] of ``images`` [B, 3, S, S]; in evaluation the text features are computed once."""
        return self.clip.logit_scale * self.image_features(images) @ self.current_text_features().T

    def current_text_features(self):
        if self.prompts.training:
            return self.text_features()
        if self._kept_text is None:
            self._kept_text = self.text_features()
        return self._kept_text

    _kept_text = None

    def set_model_mode(self, mode="train", names=None):
        super().set_model_mode(mode, names)
        self.prompts.train(mode == "train")
        self._kept_text = None

    def train(self):
        """Train as Dassl does. Raises InputError where that needs validation images, and there are none."""
        validation.check_training(self)
        super().train()

    def test(self, split=None):
        """Evaluate as Dassl does; the unrounded figures are kept in ``self.results`` under the split's name.

        Raises:
            InputError: no validation images, or logits that are not finite, which would count as answers.
        """
        validation.check_split(self, split)
        self._unsound = 0
        with shared_out(self):
            accuracy = super().test(split)
        unsound = distributed.total(self._unsound)
        if unsound:
            raise InputError(f"the logits of {unsound} images of the {split or self.cfg.TEST.SPLIT} set are not finite "
                             f"under PREC {self.clip.precision}: try fp32 or bf16")
        self.results = {**self.results, split or self.cfg.TEST.SPLIT: figures(self.evaluator, self.classnames)}
        return accuracy

    results = {}

    @torch.no_grad()
    def model_inference(self, images):
        logits = self.logits(images)
        self._unsound = self._unsound + (~torch.isfinite(logits).all(1)).sum()
        return logits

    _unsound: int | torch.Tensor = 0  # images of the evaluation whose logits are not finite

    # ---- one training step

    def objective(self, images, labels):
        """Return (loss, {name: figure to report}) of one batch; cross-entropy unless a method says otherwise."""
        logits = self.logits(images)
        loss = F.cross_entropy(logits, labels)
        return loss, {"loss": loss, "acc": accuracy(logits, labels)}

    def forward_backward(self, batch):
        """One step on one batch; returns the joint batch's figures to report, as tensors on the device."""
        self.images, self.finite = 0 if "padding" in batch else len(batch["label"]), True
        loss, summary = self.compute(*self.parse_batch_train(batch))
        self.step(self.gradients(loss))
        return dict(zip(summary, distributed.mean(summary.values(), self.images), strict=True))

    images = 1  # of this process's share of the batch: its weight among the processes
    finite: bool | torch.Tensor = True  # whether all gradients of the step are that were not left out

    def gradients(self, loss):
        """Return the gradients that the optimizer is to use, one per parameter (None where it has no part)."""
        return self.gradients_of(loss)

    def gradients_of(self, loss, retain_graph=False):
        """Return the gradients of a scalar loss, averaged over the joint batch's images, unscaled under amp.

        Every gradient that a method combines with others comes from here, so here all are looked at.
        """
        scale = self.loss_scale.scale if self.loss_scale else 1.0
        grads = torch.autograd.grad(loss * scale if self.loss_scale else loss, self.parameters,
                                    retain_graph=retain_graph, allow_unused=True)
        if self.loss_scale:
            grads = [g if g is None else g / scale for g in grads]
        grads = distributed.mean(grads, self.images)
        self.finite = self.finite & all_finite(grads)
        return grads

    def step(self, grads):
        """Let the optimizer use ``grads``; under amp a step with overflown gradients is left out.

        ``self.finite`` tells of them in other precisions, and of those under amp that no lower scale would help.
        """
        self.finite = self.finite & all_finite(grads)
        if self.loss_scale:
            exhausted = self.loss_scale.exhausted
            if not self.loss_scale.accept(bool(self.finite)):
                self.finite = not exhausted
                return
        for parameter, grad in zip(self.parameters, grads, strict=True):
            parameter.grad = grad
        self.optim.step()

    def before_train(self):
        super().before_train()
        input_checks.report_schedule(self)

    def run_epoch(self):
        """Train one epoch, or the rest of one. Figures stay on the device and are read where a line is printed."""
        signals.hold()
        self.saved_at = self.saved_at or time.monotonic()
        self.set_model_mode("train")
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        self.num_batches = len(self.train_loader_x)
        if self.loss_scale:
            self.loss_scale.left_out = 0
        every, pending, mark = self.cfg.TRAIN.PRINT_FREQ, [], time.time()
        for self.batch_idx, batch in self.batches():
            data_time.update(time.time() - mark)
            summary = self.forward_backward(batch)
            pending.append((self.batch_idx, summary, self.finite, batch.get("impath")))
            last = self.batch_idx + 1 == self.num_batches
            shown = (self.batch_idx + 1) % every == 0 or self.num_batches < every
            save = not last and distributed.rank() == 0 and (signals.asked() or self.interim_due())
            if shown or last or save or self.device.type == "cpu":
                self.read_figures(pending, losses)
                pending = []
            batch_time.update(time.time() - mark)
            if shown:
                self.print_progress(losses, batch_time, data_time)
            if last or save:
                self.check_prompts()
            if save:
                self.save_interim()
            mark = time.time()
        self.tell_left_out()
        self.end_epoch()
        self.update_lr()

    def batches(self):
        """Yield (number, batch) of the epoch; after a resumption within it, of its rest."""
        first, self.first_batch = self.first_batch, 0
        if first == 0:
            self.epoch_random = checkpoint.random_state()
            yield from enumerate(self.train_loader_x)
            return
        here = checkpoint.random_state()
        checkpoint.set_random_state(self.epoch_random)  # the order of the batches was drawn from it
        rest = batches_from(self.train_loader_x, first)
        checkpoint.set_random_state(here)
        yield from enumerate(rest, first)

    first_batch = 0

    def read_figures(self, pending, losses):
        """Take figures off the device into the meters; stop at the first, or the first gradient, not finite."""
        for batch_idx, summary, finite, paths in pending:
            figures = {name: value.item() for name, value in summary.items()}
            bad = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
            bad += [] if finite else ["the gradient is not finite"]
            if bad:
                files = ", ".join(map(str, paths or ["unnamed images"]))
                share = " (this process's share)" if distributed.world_size() > 1 else ""
                raise InputError(f"{bad[0]} in epoch {self.epoch + 1}, batch {batch_idx + 1} of {self.num_batches}, on "
                                 f"{files}{share}: lower OPTIM.LR, try another PREC, or check these files")
            losses.update(figures)
            step = self.epoch * self.num_batches + batch_idx
            for name, value in figures.items():
                self.write_scalar(f"train/{name}", value, step)

    def check_prompts(self):
        """Raise InputError where the prompts are not finite: no later loss would tell of the last step."""
        if not all_finite(self.parameters):
            raise InputError(f"the prompts are not finite after epoch {self.epoch + 1}, batch {self.batch_idx + 1} of "
                             f"{self.num_batches}: lower OPTIM.LR, or try another PREC")

    def tell_left_out(self):
        """Note where amp has left out most of the epoch's steps: the prompts have hardly been trained in it."""
        left_out = self.loss_scale.left_out if self.loss_scale else 0
        if 2 * left_out > self.num_batches:
            self.note(f"PREC amp left out {left_out} of {self.num_batches} steps of epoch {self.epoch + 1}, whose "
                      "gradients overflowed: train longer, or take another PREC")

    def init_writer(self, log_dir):
        """Start writing to tensorboard, in the first process."""
        if distributed.rank() == 0:
            super().init_writer(log_dir)

    def print_progress(self, losses, batch_time, data_time):
        left = (self.max_epoch - self.epoch) * self.num_batches - self.batch_idx - 1
        print(f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{self.batch_idx + 1}/{self.num_batches}] "
              f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) data {data_time.val:.3f} ({data_time.avg:.3f}) "
              f"{losses} lr {self.get_current_lr():.4e} "
              f"eta {datetime.timedelta(seconds=int(batch_time.avg * left))}")

    def end_epoch(self):
        """What a method does with its prompts after an epoch, before they are saved."""

    # ---- saving and loading

    @functools.cached_property
    def identity(self):
        """What the run is made of, as hashes (see ``training.identity``)."""
        return identity.of_trainer(self)

    @classmethod
    def method_identity(cls, cfg):
        """Return what a method of this kind adds to its runs' identity: {part of ``identity.PARTS``: hash}."""
        return {}

    def mismatch(self, text):
        """Raise InputError of what does not belong together; note it where TRAINER.PROMPTREG.ALLOW_MISMATCH is set."""
        if not self.house.ALLOW_MISMATCH:
            raise InputError(f"{text}: correct it, or set {OVERRIDE} True to use it all the same, which is noted")
        self.note(f"{text}, and is used all the same")

    def note(self, text):
        """Warn, once, of something that belongs to this run's figures: result.json and all tables keep it."""
        if text not in self.notes:
            log.warning("%s", text)
            self.notes = (*self.notes, text)

    notes: tuple[str, ...] = ()

    @functools.cached_property
    def config_text(self):
        """The config as YAML, for the checkpoints; making it takes longer than writing one."""
        return dumped(self.cfg)

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name=""):
        """Write the prompts and all that an exact resumption needs (see ``checkpoint``)."""
        if distributed.rank() == 0:
            checkpoint.save(self, epoch, directory, is_best, val_result, model_name)
        distributed.barrier()  # the others may be about to read it
        self.saved = None if model_name else (directory, epoch)
        self.saved_at = time.monotonic()

    beginning: dict | None = None  # random states before an unseeded run's few-shot set was drawn
    saved: tuple | None = None  # (directory, epoch)
    saved_at = 0.0  # by time.monotonic()

    def interim_due(self):
        """Return whether TRAIN.CHECKPOINT_MINUTES have passed since the last save, or the start."""
        minutes = self.cfg.TRAIN.get("CHECKPOINT_MINUTES", 0)
        return minutes > 0 and time.monotonic() - self.saved_at >= 60 * minutes

    def save_interim(self):
        """Write the state within the epoch; where a signal has asked for it, leave.

        Under torchrun the first process does so, and the others, left without it, are ended by torchrun.
        """
        checkpoint.save_interim(self, self.batch_idx + 1, self.output_dir)
        self.saved_at = time.monotonic()
        if signals.asked():
            signals.leave(f"saved in epoch {self.epoch + 1} after batch {self.batch_idx + 1} of {self.num_batches}")

    def after_epoch(self):
        """Dassl's (best model, CHECKPOINT_FREQ, last epoch), and a checkpoint every epoch, which is small."""
        super().after_epoch()
        if self.saved != (self.output_dir, self.epoch):
            self.save_model(self.epoch, self.output_dir)
        signals.release(f"saved after epoch {self.epoch + 1} of {self.max_epoch}")

    def resume_model_if_exist(self, directory):
        """Continue from the newest whole state in the output folder, else in ``directory``, even within an epoch.

        Returns:
            The epoch to start with, 0 where there was nothing.
        """
        for place in dict.fromkeys((self.output_dir, directory)):
            found = resume(self, place)
            if found:
                epoch, self.first_batch = found
                if place == self.output_dir and self.first_batch == 0 and distributed.rank() == 0:
                    checkpoint.drop_before(Path(place) / self.FOLDER, epoch, self.cfg.TRAIN.CHECKPOINT_FREQ)
                distributed.barrier()
                return epoch
        return 0

    def load_model(self, directory, epoch=None):
        """Load the prompts of ``directory``, ours or a published implementation's.

        Args:
            directory: output folder of a run; nothing is loaded without one.
            epoch: the epoch's checkpoint, or None for the best one.

        Raises:
            InputError: no such checkpoint, or one that does not fit.
        """
        if not directory:
            print("No --model-dir: the prompts stay as they started")
            return
        path = checkpoint.find(directory, self.FOLDER, epoch)
        at = self.load_prompts(path)
        print(f"Prompts of epoch {at} loaded from {path}")

    def load_prompts(self, path, as_start=False):
        """Fill ``self.prompts`` from a checkpoint file; returns its epoch. Raises as ``compatibility.load_into``."""
        trained = read_trained(Path(path))
        load_into(self, trained, as_start)
        self._kept_text, self.loaded = None, checkpoint.digest(trained.state_dict)
        return trained.epoch

    loaded = None  # hash of the prompts that were read from a file

    def extra_state(self):
        """Tensors {name: tensor} besides prompts that a resumed run needs (aggregation, say)."""
        return {}

    def load_extra_state(self, state):
        """Take back what ``extra_state`` gave."""

    def parse_batch_train(self, batch):
        return (batch["img"].to(self.device, non_blocking=True), batch["label"].to(self.device, non_blocking=True))


def accuracy(logits, labels):
    """Return the percentage of right answers, a scalar tensor."""
    return compute_accuracy(logits, labels)[0].squeeze()
