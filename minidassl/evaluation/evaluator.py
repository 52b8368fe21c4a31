import os
from collections import OrderedDict

import torch

from ..errors import ConfigError
from ..utils.tools import atomic_write
from .build import EVALUATOR_REGISTRY


class EvaluatorBase:
    """Takes in batches of model outputs and labels, then turns them into figures."""

    def __init__(self, cfg):
        self.cfg = cfg

    def reset(self):
        raise NotImplementedError

    def process(self, mo, gt):
        raise NotImplementedError

    def evaluate(self):
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro F1, all in percent; per-class accuracy and confusion matrix where asked for.

    Raises:
        ValueError: TEST.PER_CLASS_RESULT is set and ``lab2cname`` is not given.
    """

    def __init__(self, cfg, lab2cname=None, **kwargs):
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError("TEST.PER_CLASS_RESULT needs lab2cname, a dict from label to class name")
        self._lab2cname = lab2cname
        self.reset()

    def reset(self):
        self._y_true, self._y_pred = [], []  # a tensor a batch, left on its device: no waiting for the GPU

    def process(self, mo, gt):
        """Take in logits ``mo`` ``[B, C]`` and labels ``gt`` ``[B]``."""
        self._y_true.append(gt.detach())
        self._y_pred.append(mo.detach().argmax(dim=1))

    def evaluate(self):
        """Print the figures and return them, accuracy first, as an OrderedDict.

        Macro F1 and the per-class mean go over the classes that occur among the labels.

        Raises:
            ValueError: no batch was processed.
        """
        if not self._y_true:
            raise ConfigError("there is nothing to evaluate: no batch was processed")
        true, pred = torch.cat(self._y_true).cpu(), torch.cat(self._y_pred).cpu()
        n = int(max(true.max(), pred.max())) + 1
        counts = torch.bincount(true * n + pred, minlength=n * n).reshape(n, n).double()  # [true, predicted]
        hits, of_class, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        occurs = of_class > 0

        total, correct = len(true), int(hits.sum())
        results = OrderedDict()
        results["accuracy"] = 100.0 * correct / total
        results["error_rate"] = 100.0 - results["accuracy"]
        results["macro_f1"] = 100.0 * (2 * hits / (of_class + predicted))[occurs].mean().item()
        print(f"=> result\n"
              f"* total: {total:,}\n"
              f"* correct: {correct:,}\n"
              f"* accuracy: {results['accuracy']:.1f}%\n"
              f"* error: {results['error_rate']:.1f}%\n"
              f"* macro_f1: {results['macro_f1']:.1f}%")

        if self.cfg.TEST.PER_CLASS_RESULT:
            print("=> per-class result")
            accuracies = 100.0 * hits / of_class
            for label in occurs.nonzero().flatten().tolist():
                print(f"* class: {label} ({self._lab2cname[label]})\ttotal: {int(of_class[label]):,}\t"
                      f"correct: {int(hits[label]):,}\tacc: {accuracies[label]:.1f}%")
            results["perclass_accuracy"] = accuracies[occurs].mean().item()
            print(f"* average: {results['perclass_accuracy']:.1f}%")

        if self.cfg.TEST.COMPUTE_CMAT:
            path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
            seen = occurs | (predicted > 0)
            cmat = counts / of_class.clamp(min=1)[:, None]
            with atomic_write(path) as temporary:
                torch.save(cmat[seen][:, seen], temporary)
            print(f"Confusion matrix is saved to {path}")

        return results
