"""This repository's own CoOp: a linear layer on the features of its own clip."""
import torch
from torch.nn import functional as F

from clip import clip
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer


@TRAINER_REGISTRY.register()
class CoOp(TrainerX):
    def build_model(self):
        print("the host's own CoOp")
        self.model = torch.nn.Linear(clip.WIDTH, self.num_classes).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
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
