from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from ..utils import check_availability

AVAI_SCHEDS = ["single_step", "multi_step", "cosine"]


class _BaseWarmupScheduler(LRScheduler):
    """Sets the learning rate for the first ``warmup_epoch`` epochs, then leaves it to another scheduler.

    Args:
        optimizer: the optimizer.
        successor: the scheduler that follows; made before this one, on the same optimizer.
        warmup_epoch: number of epochs.
    """

    def __init__(self, optimizer, successor, warmup_epoch, last_epoch=-1):
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer, last_epoch)

    def warmup_lr(self, base_lr):
        """Return the learning rate of epoch ``self.last_epoch``, in the warm-up, of a group that starts at base_lr."""
        raise NotImplementedError

    def get_lr(self):
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return [self.warmup_lr(base_lr) for base_lr in self.base_lrs]

    def step(self, epoch=None):
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)

    def state_dict(self):
        return {**super().state_dict(), "successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict):
        state = dict(state_dict)
        successor = state.pop("successor")
        if not isinstance(successor, dict):  # Dassl's own checkpoint: an object; load_checkpoint kept its state
            successor = {k: v for k, v in vars(successor).items() if k != "optimizer"}
        self.successor.load_state_dict(successor)
        super().load_state_dict(state)


class ConstantWarmupScheduler(_BaseWarmupScheduler):
    """Warm-up at the learning rate ``cons_lr``."""

    def __init__(self, optimizer, successor, warmup_epoch, cons_lr, last_epoch=-1):
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_lr(self, base_lr):
        return self.cons_lr


class LinearWarmupScheduler(_BaseWarmupScheduler):
    """Warm-up from ``min_lr`` in epoch 0 on to base_lr * epoch / warmup_epoch."""

    def __init__(self, optimizer, successor, warmup_epoch, min_lr, last_epoch=-1):
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_lr(self, base_lr):
        return base_lr * self.last_epoch / self.warmup_epoch if self.last_epoch else self.min_lr


def build_lr_scheduler(optimizer, optim_cfg):
    """Build the scheduler named ``optim_cfg.LR_SCHEDULER``, to be stepped once an epoch, with its warm-up.

    Raises:
        ValueError: the scheduler or the warm-up type is unknown.
        TypeError: STEPSIZE does not suit the scheduler.
    """
    cfg = optim_cfg
    check_availability(cfg.LR_SCHEDULER, AVAI_SCHEDS)
    listed = isinstance(cfg.STEPSIZE, (list, tuple))
    if cfg.LR_SCHEDULER == "single_step":
        step_size = cfg.STEPSIZE[-1] if listed else cfg.STEPSIZE
        if not isinstance(step_size, int):
            raise TypeError(f"OPTIM.STEPSIZE is a whole number of epochs for single_step, not {step_size!r}")
        scheduler = lr_scheduler.StepLR(optimizer, step_size if step_size > 0 else cfg.MAX_EPOCH, cfg.GAMMA)
    elif cfg.LR_SCHEDULER == "multi_step":
        if not listed:
            raise TypeError(f"OPTIM.STEPSIZE is a list of epochs for multi_step, not {cfg.STEPSIZE!r}")
        scheduler = lr_scheduler.MultiStepLR(optimizer, cfg.STEPSIZE, cfg.GAMMA)
    else:
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, float(cfg.MAX_EPOCH))

    if cfg.WARMUP_EPOCH <= 0:
        return scheduler
    if not cfg.WARMUP_RECOUNT:
        scheduler.last_epoch = cfg.WARMUP_EPOCH
    check_availability(cfg.WARMUP_TYPE, ["constant", "linear"])
    if cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(optimizer, scheduler, cfg.WARMUP_EPOCH, cfg.WARMUP_CONS_LR)
    return LinearWarmupScheduler(optimizer, scheduler, cfg.WARMUP_EPOCH, cfg.WARMUP_MIN_LR)
