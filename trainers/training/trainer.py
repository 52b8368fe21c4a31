"""The one trainer of all methods: data, optimizer, step, epoch, checkpoints, evaluation.

What is trained, ``self.model``, is a ``base.PromptMethod``; ``base.register`` enters a trainer for each.
"""
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from dassl.optim import build_lr_scheduler, build_optimizer

from ..clip import load_clip
from ..config.defaults import GENERAL, declare, defaults_of, section_cfg
from ..config.limits import POSITIVE, Limited, at_least
from ..errors import InputError
from . import checkpoint, distributed, graph, input_checks, signals, validation
from .epoch import EpochReport, check_prompts, note_left_out
from .evaluation import shared_out
from .graph import Computation, Computed
from .loader import batches_from, num_cpus, train_loader
from .loss_scale import LossScale
from .machine import image_memory
from .random_state import random_state, set_random_state
from .result import figures
from .resumable import ResumableTrainer
from .step import Step, check_gradients, loss_and_figures, second_step

declare(GENERAL, IMAGE_MEMORY=-1.0)  # GiB of decoded training images kept; negative: as fits the machine
declare("OPTIM", at_root=True, ADAM_EPS=Limited(1e-8, POSITIVE))  # added to the root of the squares' mean (adam, …)
declare("TRAIN", at_root=True,
        CHECKPOINT_MINUTES=Limited(0, at_least(0)),  # above 0: save within an epoch too; its end is saved anyway
        COMPILE=False,  # let torch.compile fuse the forward and backward of the step: minutes at the start
        GRAPH=True)  # on CUDA, capture the step once and replay it, where that is safe (see ``graph``)


def trainer_of(method: Any) -> type["PromptTrainer"]:
    """Return the trainer class of a method, of the same name. Raises TypeError where the method declares no PREC."""
    if "PREC" not in defaults_of(getattr(method, "SECTION", "")):
        raise TypeError(f'{method.__name__} has no config section with PREC: write declare("MINE", PREC="fp32", …) '
                        'above the class and SECTION = "MINE" in it')
    return type(method.__name__, (PromptTrainer,), {
        "METHOD": method, "SECTION": method.SECTION, "__doc__": method.__doc__, "__module__": method.__module__})


class PromptTrainer(ResumableTrainer):
    """Trains the prompts of ``METHOD``, and nothing else, on a frozen CLIP.

    Attributes:
        model: the method; ``model(images)`` gives logits.
        trainable: its prompts, a list of parameters.
        state: what the run carries from step to step.
        results: the figures of what has been evaluated, unrounded, under the split's name.

    Raises:
        InputError: the backbone or the method's keys do not fit.
    """

    METHOD: ClassVar[Any]  # a base.PromptMethod
    SECTION: ClassVar[str]  # the method's config section, by which ``config.checks`` knows whose a key is

    def __init__(self, cfg: Any) -> None:
        self.results: dict[str, Any] = {}
        self.images = 1  # this process's share of the batch under way
        self.finite: bool | Tensor = True  # whether the last step's gradients are
        self.images_not_finite: int | Tensor = 0  # of an evaluation: those whose logits are not
        super().__init__(cfg)

    # ---- build

    def build_data_loader(self) -> None:
        """Build Dassl's data manager, with the training loader that ``loader.py`` describes."""
        distributed.start(self.device)
        if self.cfg.SEED < 0:  # what is drawn from here on is this run's alone, and is drawn again where it goes on
            distributed.share_seed()
            checkpoint.restore_initial_rng(self.cfg.OUTPUT_DIR, self.cfg.RESUME)
            self.state.initial_rng_state = random_state()
        super().build_data_loader()
        validation.check_split(self)
        gib = image_memory(section_cfg(self.cfg, GENERAL).IMAGE_MEMORY)
        self.train_loader_x = train_loader(self.cfg, self.dm, self.train_loader_x, gib * 2 ** 30)
        workers = getattr(getattr(self.train_loader_x, "loader", self.train_loader_x), "num_workers", 0)
        print(f"Loading images: {workers} workers of {num_cpus()} cores, up to {gib:g} GiB of decoded images kept "
              "(TRAINER.PROMPTREG.IMAGE_MEMORY)")
        self.state.notes.adopt(getattr(self.dm.dataset, "notes", ()))

    def build_model(self) -> None:
        """Build the method on its CLIP and, where it has something to train, the optimizer."""
        cfg = self.cfg
        input_checks.check_normalized(self.test_loader)
        clip = load_clip(cfg.MODEL.BACKBONE.NAME, section_cfg(cfg, self.METHOD.SECTION).PREC, self.device)
        clip.compare_normalization(cfg.INPUT)
        self.model = self.METHOD(cfg, clip, self.dm.dataset.classnames, self.state.notes)
        input_checks.report(self)
        self.model.prepare_training()
        self.state.loss_scale = LossScale(device=self.device) if self.model.method_cfg.PREC == "amp" else None
        self.trainable = list(self.model.prompts.parameters())
        if not self.trainable:
            return
        if cfg.MODEL.INIT_WEIGHTS:
            self.load_prompts(cfg.MODEL.INIT_WEIGHTS, as_start=True)
        distributed.broadcast(self.trainable)
        self.optim = build_optimizer(self.model.optimizer_groups(cfg.OPTIM), cfg.OPTIM)
        for group in self.optim.param_groups:
            if "eps" in group:  # of optimizers that have one; Dassl gives PyTorch's default
                group["eps"] = cfg.OPTIM.get("ADAM_EPS", group["eps"])
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(self.model.FOLDER, self.model.prompts, self.optim, self.sched)
        loss = self.model.loss
        self.compute_loss = torch.compile(loss, dynamic=False) if cfg.TRAIN.get("COMPILE") else loss
        print(f"{type(self.model).__name__}: {sum(p.numel() for p in self.trainable):,} parameters in "
              f"{len(self.trainable)} tensors, {len(self.model.classnames)} classes, {self.model.method_cfg.PREC} on "
              f"{self.device}")
        parts = len(getattr(getattr(self.model, "layout", None), "chunks", "1"))
        print(f"The classes' activations: {self.model.clip.text.budget / 2 ** 30:g} GiB at most, in {parts} "
              f"part{'s' * (parts != 1)} (TRAINER.PROMPTREG.TEXT_MEMORY)")
        self.computation = Computation(self.compute, graph.why_not(self))
        if self.device.type == "cuda":
            reason = self.computation.reason
            print(f"The step is {f'not captured in a CUDA graph: {reason}' if reason else 'captured in a CUDA graph'}")

    def set_model_mode(self, mode: str = "train", names: Any = None) -> None:
        """Put the method into ``train`` mode, or into evaluation mode (``test``, ``eval``)."""
        super().set_model_mode(mode, names)
        self.model.train(mode == "train")

    @classmethod
    def method_identity(cls, cfg: Any) -> dict[str, str | None]:
        """Return what the method adds to its runs' identity."""
        return cls.METHOD.method_identity(cfg)

    # ---- evaluation

    def test(self, split: str | None = None) -> float:
        """Evaluate as Dassl does; the unrounded figures go to ``self.results`` under the split's name.

        Raises:
            InputError: no validation images, or logits that are not finite, which would count as answers.
        """
        validation.check_split(self, split)
        self.images_not_finite = 0
        with shared_out(self):
            accuracy = super().test(split)
        count, split = distributed.total(self.images_not_finite), split or self.cfg.TEST.SPLIT
        if count:
            raise InputError(f"the logits of {count} images of the {split} set are not finite under PREC "
                             f"{self.model.clip.precision}: try fp32 or bf16")
        self.results = {**self.results, split: figures(self.evaluator, self.model.classnames)}
        return accuracy

    @torch.no_grad()
    def model_inference(self, images: Tensor) -> Tensor:
        """Return the method's logits [B, C] and count those that are not finite."""
        logits = self.model(images)
        self.images_not_finite = self.images_not_finite + (~torch.isfinite(logits).all(1)).sum()
        return logits

    # ---- training

    def train(self) -> None:
        """Train as Dassl does. Raises InputError where that needs validation images, and there are none."""
        validation.check_training(self)
        if self.trainable:
            super().train()
            return
        print(f"{type(self.model).__name__} learns nothing; evaluating it as it is")
        self.test()

    def before_train(self) -> None:
        """Resume where there is something to resume, and note what the schedule does."""
        super().before_train()
        input_checks.report_schedule(self)

    def init_writer(self, log_dir: str) -> None:
        """Start writing to tensorboard, in the first process."""
        if distributed.rank() == 0:
            super().init_writer(log_dir)

    def parse_batch_train(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return images and labels on the device."""
        return batch["img"].to(self.device, non_blocking=True), batch["label"].to(self.device, non_blocking=True)

    def forward_backward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Do one step on one batch; returns the joint batch's figures to report, as tensors on the device."""
        images = 0 if "padding" in batch else len(batch["label"])
        self.images = images
        inputs = self.parse_batch_train(batch)
        found = self.computation(*inputs)
        step = Step(self.trainable, self.optim, self.state.loss_scale, images)
        step.finite, step.checked = found.finite, {id(g) for g in found.gradients}
        step.use(found.gradients)
        for (name, _), gradient in zip(self.model.prompts.named_parameters(), found.gradients, strict=True):
            if gradient is None:
                self.model.note(f"{name} has no gradient and stays as it started: nothing in the loss depends on it")
        self.finite = step.finite
        figures = second_step(self, *inputs, batch["label"].tolist()) or found.figures
        return dict(zip(figures, distributed.mean(figures.values(), images), strict=True))

    def compute(self, images: Tensor, labels: Tensor) -> Computed:
        """Return a batch's gradients and figures; everything that a CUDA graph may hold, and nothing else."""
        step = Step(self.trainable, self.optim, self.state.loss_scale, self.images)
        loss, figures = loss_and_figures(self.compute_loss(images, labels), type(self.model).__name__)
        gradients = self.model.compute_gradients(loss, step.gradients)
        check_gradients(gradients, self.trainable)
        step.check(gradients)
        return Computed(gradients, {name: figure.detach() for name, figure in figures.items()}, step.finite)

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of one."""
        signals.defer_signals()
        state = self.state
        state.saved_at = state.saved_at or time.monotonic()
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        if state.loss_scale:
            state.loss_scale.left_out = 0
        report = EpochReport(self)
        for self.batch_idx, batch in self.batches():
            report.batch_is_loaded()
            summary = self.forward_backward(batch)
            state.batch = self.batch_idx + 1
            last = state.batch == self.num_batches
            save = not last and distributed.rank() == 0 and (signals.signal_pending() or self.interim_due())
            report.step_is_done(summary, self.finite, batch.get("impath"), read=last or save)
            if last or save:
                check_prompts(self)
            if save:
                self.save_interim()
            report.next_batch()
        state.batch, state.epoch_random = 0, None
        note_left_out(self)
        self.model.end_epoch(self.epoch, self.max_epoch)
        self.update_lr()

    def batches(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (number, batch) of the epoch; after a resumption within it, of its rest."""
        first, drawn_from = self.state.batch, self.state.epoch_random
        if first == 0:
            self.state.epoch_random = random_state()
            yield from enumerate(self.train_loader_x)
            return
        assert drawn_from is not None, "the order of an epoch's batches is saved with their number"
        here = random_state()
        set_random_state(drawn_from)
        rest = batches_from(self.train_loader_x, first)
        set_random_state(here)
        yield from enumerate(rest, first)
