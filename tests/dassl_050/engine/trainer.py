

def _save_model(self, epoch, directory, is_best=False, model_name=""):
    _save(self, epoch, directory, is_best, None, model_name)


def _after_epoch(self):
    cfg, done = self.cfg, self.epoch + 1
    if cfg.TEST.FINAL_MODEL == "best_val" and not cfg.TEST.NO_TEST:
        result = self.test(split="val")
        if result > self.best_result:
            self.best_result = result
            self.save_model(self.epoch, self.output_dir, model_name="model-best.pth.tar")
    if done == self.max_epoch or cfg.TRAIN.CHECKPOINT_FREQ > 0 and done % cfg.TRAIN.CHECKPOINT_FREQ == 0:
        self.save_model(self.epoch, self.output_dir)


_save = TrainerBase.save_model
TrainerBase.save_model = _save_model
SimpleTrainer.after_epoch = _after_epoch
