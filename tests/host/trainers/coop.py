"""This repository's own CoOp: a linear layer on the features of its own clip."""
import os

import torch
from torch.nn import functional as F

from clip import clip
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.lr_scheduler import ConstantWarmupScheduler
from dassl.utils import load_checkpoint


class OwnCosine(torch.optim.lr_scheduler.CosineAnnealingLR):
    """A schedule of this repository's own, which its checkpoints then hold."""


@TRAINER_REGISTRY.register()
class CoOp(TrainerX):
    def build_model(self):
        print("the host's own CoOp")
        self.model = torch.nn.Linear(clip.WIDTH, self.num_classes).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        if os.environ.get("HOST_SCHEDULE") == "own":
            self.sched = ConstantWarmupScheduler(self.optim, OwnCosine(self.optim, self.cfg.OPTIM.MAX_EPOCH), 1, 1e-5)
        else:
            self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("prompt_learner", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        loss = F.cross_entropy(self.model_inference(batch["img"].to(self.device)), batch["label"].to(self.device))
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def model_inference(self, images):
        return self.model(clip.encode(images))

    def load_model(self, directory, epoch=None):
        for name in self.get_model_names():
            path = os.path.join(directory, name, f"model.pth.tar-{epoch}")
            self._models[name].load_state_dict(load_checkpoint(path)["state_dict"], strict=False)
