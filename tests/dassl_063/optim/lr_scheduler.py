

class _BaseWarmupScheduler(LRScheduler):
    """Hands ``verbose`` on by position; its state holds the successor itself, optimizer and all."""

    def __init__(self, optimizer, successor, warmup_epoch, last_epoch=-1, verbose=False):
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer, last_epoch, verbose)

    def get_lr(self):
        if self.last_epoch < self.warmup_epoch:
            return [self.warm(lr) for lr in self.base_lrs]
        return self.successor.get_last_lr()

    def step(self, epoch=None):
        if self.last_epoch < self.warmup_epoch:
            super().step(epoch)
        else:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()


class ConstantWarmupScheduler(_BaseWarmupScheduler):
    def __init__(self, optimizer, successor, warmup_epoch, cons_lr, last_epoch=-1, verbose=False):
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch, verbose)

    def warm(self, lr):
        return self.cons_lr


class LinearWarmupScheduler(_BaseWarmupScheduler):
    def __init__(self, optimizer, successor, warmup_epoch, min_lr, last_epoch=-1, verbose=False):
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch, verbose)

    def warm(self, lr):
        return lr * self.last_epoch / self.warmup_epoch if self.last_epoch else self.min_lr
