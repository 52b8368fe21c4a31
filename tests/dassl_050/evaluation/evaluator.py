

def _init(self, cfg, lab2cname=None, **kwargs):
    EvaluatorBase.__init__(self, cfg)
    self._lab2cname, self._correct, self._total, self._per_class_res = lab2cname, 0, 0, None
    self._y_true, self._y_pred = [], []


def _reset(self):
    """Keeps the labels of the evaluation before."""
    self._correct = self._total = 0
    if self._per_class_res is not None:
        self._per_class_res = {}


def _process(self, mo, gt):
    predicted = mo.max(1)[1]
    self._correct += int(predicted.eq(gt).sum())
    self._total += gt.shape[0]
    self._y_true.extend(gt.cpu().numpy().tolist())
    self._y_pred.extend(predicted.cpu().numpy().tolist())


def _evaluate(self):
    from sklearn.metrics import f1_score
    accuracy = 100.0 * self._correct / self._total
    macro = 100.0 * f1_score(self._y_true, self._y_pred, average="macro", labels=sorted(set(self._y_true)))
    print(f"=> result\n* total: {self._total:,}\n* correct: {self._correct:,}\n* accuracy: {accuracy:.2f}%\n"
          f"* error: {100 - accuracy:.2f}%\n* macro_f1: {macro:.2f}%")
    return OrderedDict(accuracy=accuracy, error_rate=100 - accuracy, macro_f1=macro)


Classification.__init__, Classification.reset = _init, _reset
Classification.process, Classification.evaluate = _process, _evaluate
