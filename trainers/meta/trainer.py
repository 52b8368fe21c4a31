"""Trainer ``GRAM``: from image-text pairs to a meta-trained file, through features, hierarchy and the bi-level loop."""
import concurrent.futures
import hashlib
import importlib.util
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from dassl.data.transforms import build_transform

from ..clip import load_clip
from ..clip.weights import is_file_name
from ..compat.registry import TRAINERS
from ..config.defaults import HOUSE, declare, settings
from ..config.yaml_text import difference
from ..errors import InputError
from ..regulate.regulator import Regulator
from ..training import checkpoint, distributed, signals
from ..training.loss_scale import all_finite
from ..training.result import peak_memory
from . import file, hierarchy
from .bilevel import adapt, meta_gradients, twice_differentiable
from .corpus import open_corpus
from .episodes import Episodes, Inputs
from .features import extract
from .learner import Learner
from .pairs import Corpus

declare("GRAM",
        META="",  # the meta-trained file that GRAM<method> starts from; demo: the one that comes along
        CORPUS="demo",  # image-text pairs: demo, a .tsv, a folder, or webdataset shards
        PROMPTS="unigram",  # whose prompts: coop, cocoop, vpt, unigram
        PREC="fp32",  # fp32 or bf16: gradients of gradients are too small for float16
        BAD_LIMIT=0.05,  # share of unusable pairs that is accepted
        DOMAINS=64, CLASSES=100,  # k of the two levels of clustering
        SAMPLE=32768,  # pairs that k-means is fitted on
        CLUSTER="auto",  # auto, sklearn, faiss
        HELD_OUT=0.25,  # share of the domains that only the final report sees
        WAYS=5, SHOTS=4, QUERIES=4,  # classes of a task; support and query pairs of a class
        RANK=32, GATE=16,  # of the regulating function: the bend's rank, the gate's hidden units
        REGULATE=True,  # False: learn the start alone
        INNER_STEPS=5, INNER_LR=0.1,
        LEARN_LR=False,  # learn a step size for each prompt
        FIRST_ORDER=False,
        OTHER_WEIGHT=1.0,  # w, of the other domain's query loss
        STEPS=2000, EPISODES=4,  # outer steps; episodes of one
        META_LR=1e-3, REGULATOR_LR=1e-3,  # Adam's, for the start (and step sizes) and for the function
        SCHEDULE="linear",  # of both rates: linear (down to 0) or constant
        CLIP_NORM=1.0,  # of the outer gradient
        SAVE_EVERY=50,  # outer steps
        EVALUATE=100)  # held-out episodes of the final report

FILE, STATE = "meta.safetensors", "state.pth"


@TRAINERS.add
class GRAM:
    """Meta-learns a start and a regulating function for the prompts of TRAINER.GRAM.PROMPTS from a corpus of pairs.

    Leaves in OUTPUT_DIR: meta.safetensors (for TRAINER.GRAM.META), and result.json with the report on held-out domains.
    A run that was killed goes on where it stopped, and leaves the same file.

    Raises:
        InputError: corpus or settings do not fit.
    """

    NEEDS_DATASET = False

    def __init__(self, cfg):
        self.cfg, self.own, self.house, self.results = cfg, settings(cfg, "GRAM"), settings(cfg, HOUSE), {}
        own = self.own
        if own.PREC not in ("fp32", "bf16"):
            raise InputError(f"TRAINER.GRAM.PREC is {own.PREC!r}: meta-training takes fp32 or bf16, whatever the "
                             "few-shot runs take")
        for key, least in (("WAYS", 2), ("SHOTS", 1), ("QUERIES", 1), ("INNER_STEPS", 1), ("EPISODES", 1),
                           ("DOMAINS", 2), ("RANK", 1), ("GATE", 1)):
            if own[key] < least:
                raise InputError(f"TRAINER.GRAM.{key} is {own[key]}: it must be at least {least}")
        for key, accepted in (("SCHEDULE", ("linear", "constant")), ("CLUSTER", ("auto", "sklearn", "faiss"))):
            if own[key] not in accepted:
                raise InputError(f"TRAINER.GRAM.{key} is {own[key]!r}: it must be one of {', '.join(accepted)}")
        if own.CLUSTER == "faiss" and not importlib.util.find_spec("faiss"):
            raise InputError("TRAINER.GRAM.CLUSTER is 'faiss', which is not installed: pip install faiss-cpu, or "
                             "take sklearn")
        self.device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
        distributed.start(self.device)
        self.clip = load_clip(cfg.MODEL.BACKBONE.NAME, own.PREC, self.device)
        self.clip.compare_normalization(cfg.INPUT)
        self.clip.text.budget = int(self.house.TEXT_MEMORY * 2 ** 30)
        self.learner = Learner(own.PROMPTS, cfg, self.clip)

    # ---- the stages

    def train(self):
        """Run all stages; what is on disk already is not made again."""
        own, seconds = self.own, {}
        with _timed(seconds, "features"):
            corpus = open_corpus(own.CORPUS, Path(self.cfg.DATASET.ROOT or ".") / "gram")
            self.identity = {**self.data_identity(self.cfg), "weights": self.clip.fingerprint}
            features = self.extract(corpus)
        print(f"{features.pairs} pairs of {corpus.path}, {features.bad} unusable"
              + (f" (listed in {features.folder / 'bad.tsv'})" if features.bad else ""))
        with _timed(seconds, "clustering"):
            tree = self.cluster(features)
        classes = sum(len(d["classes"]) for d in tree.domains)
        kept = int((tree.pseudo >= 0).sum())
        print(f"{len(tree.domains)} domains, {classes} pseudo-classes, {kept} pairs in them")
        held_out, training = self.split(tree)
        self.inputs = Inputs(features, self.learner.sees, build_transform(self.cfg, is_train=False),
                             self.house.IMAGE_MEMORY * 2 ** 30)
        tasks = Episodes(tree, training, own.WAYS, own.SHOTS, own.QUERIES, max(self.cfg.SEED, 0))
        with _timed(seconds, "meta-training"):
            self.meta_train(tasks, self.about(features, tree))
        with _timed(seconds, "evaluation"):
            report = self.evaluate(Episodes(tree, held_out, own.WAYS, own.SHOTS, own.QUERIES, 0))
        report |= {"pairs": features.pairs, "bad": features.bad, "domains": len(tree.domains), "classes": classes,
                   "kept": kept, "held_out_domains": held_out, "stage_seconds": seconds,
                   "peak_memory_mib": peak_memory(), "hierarchy": str(self.tree_path)}
        self.results = {"held_out": report}
        print(describe([report]))
        print(f"Meta-trained file: {self.path}")

    @staticmethod
    def data_identity(cfg):
        """Return what stands for the data in a meta-training's identity (see ``training.identity``): its corpus."""
        name = settings(cfg, "GRAM").CORPUS
        return {"dataset": name if name == "demo" else Corpus(name).fingerprint(times=False)}

    def extract(self, corpus):
        """Return the corpus's ``Features``, from $DATASET.ROOT/gram."""
        inputs = [list(self.cfg.INPUT[key]) if isinstance(self.cfg.INPUT[key], (list, tuple)) else self.cfg.INPUT[key]
                  for key in ("SIZE", "INTERPOLATION", "PIXEL_MEAN", "PIXEL_STD")]
        key = _hash([self.clip.fingerprint, corpus.fingerprint(), inputs, self.own.PREC])
        self.folder = Path(self.cfg.DATASET.ROOT or ".") / "gram" / f"{corpus.name}-{key}"
        return extract(corpus, self.clip, build_transform(self.cfg, is_train=False), self.folder, self.own.BAD_LIMIT)

    def cluster(self, features):
        """Return the ``Hierarchy`` of the features, from a file beside them."""
        own = self.own
        options = {"domains": own.DOMAINS, "classes": own.CLASSES, "least": own.SHOTS + own.QUERIES,
                   "sample": own.SAMPLE, "seed": 1, "backend": own.CLUSTER}
        provenance = {"clip": self.clip.fingerprint, "corpus": features.digest, "root": str(features.root),
                      "features": str(self.folder)}
        self.tree_path = self.folder / f"hierarchy-{_hash(options)}.tree"
        return hierarchy.build(features, self.tree_path, options, provenance)

    def split(self, tree):
        """Return (held-out domains, training domains)."""
        return hierarchy.held_out(tree, self.own.HELD_OUT)

    def about(self, features, tree):
        """Return what the meta-trained file says of itself."""
        passing = ("META", "CORPUS", "SAVE_EVERY", "EVALUATE")
        name = self.cfg.MODEL.BACKBONE.NAME
        return {"prompts": self.own.PROMPTS, "backbone": Path(name).name if is_file_name(name) else name,
                "clip": self.clip.fingerprint, "corpus": features.digest, "pairs": features.pairs,
                "seed": self.cfg.SEED, "domains": len(tree.domains),
                "config": {k: v for k, v in self.own.items() if k not in passing},
                "method": dict(settings(self.cfg, self.learner.method.SECTION).items())}

    # ---- the bi-level loop

    @property
    def path(self):
        return Path(self.cfg.OUTPUT_DIR) / FILE

    def meta_train(self, tasks, about):
        """Learn start, regulator and (as an option) step sizes; leaves the file. Resumes from the state beside it."""
        own = self.own
        self.plain = {name: value.to(self.device) for name, value in self.learner.start().items()}
        distributed.broadcast(list(self.plain.values()))
        self.start = {name: value.clone().requires_grad_() for name, value in self.plain.items()}
        shapes = {name: value.shape for name, value in self.start.items()}
        self.regulator = Regulator(shapes, own.RANK, max(self.cfg.SEED, 0), own.GATE).to(self.device)
        self.log_rates = {name: torch.full((), own.INNER_LR, device=self.device).log().requires_grad_(own.LEARN_LR)
                          for name in self.start}
        first = [*self.start.values(), *(self.log_rates.values() if own.LEARN_LR else ())]
        second = list(self.regulator.parameters()) if own.REGULATE else []
        self.optimizer = torch.optim.Adam([{"params": first, "lr": own.META_LR},
                                           {"params": second, "lr": own.REGULATOR_LR}])
        learned = [*first, *second]
        about = json.loads(json.dumps(about))
        done = self.resume(about)
        bar = tqdm(range(done, own.STEPS), "meta-training", own.STEPS, initial=done, unit="step", mininterval=2,
                   disable=distributed.rank() > 0)
        mean = None
        with concurrent.futures.ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self.load, tasks, done)
            for step in bar:
                episodes, waiting = waiting.result(), ahead.submit(self.load, tasks, step + 1)
                share = 1 - step / own.STEPS if own.SCHEDULE == "linear" else 1  # few episodes are noisy: settle
                for group, rate in zip(self.optimizer.param_groups, (own.META_LR, own.REGULATOR_LR), strict=True):
                    group["lr"] = rate * share
                losses = self.outer_step(episodes, learned)
                mean = losses if mean is None else 0.98 * mean + 0.02 * losses
                bar.set_postfix(query=f"{mean[0]:.3f}", other=f"{mean[1]:.3f}", refresh=False)
                asked = distributed.rank() == 0 and signals.asked()
                if (step + 1) % own.SAVE_EVERY == 0 or step + 1 == own.STEPS or asked:
                    self.save(step + 1, about)
                    signals.release(f"saved after outer step {step + 1} of {own.STEPS}")
                signals.hold()
            waiting.cancel()
        signals.release("all outer steps are saved")
        if distributed.rank() == 0:
            file.write(self.path, self.start, self.regulator, {**about, "rates": self.rates_by_name()})
        distributed.barrier()

    def load(self, tasks, step):
        """Return this process's episodes of an outer step, with what the learner sees of them."""
        count, world = self.own.EPISODES, distributed.world_size()
        episodes = (tasks.draw(step * count + e) for e in range(distributed.rank(), count, world))
        return [[None if part is None else (part, self.inputs(part.rows))
                 for part in (episode.support, episode.query, episode.other)] for episode in episodes]

    def loss(self, part, inputs):
        """Return the function {name: prompt} -> cross-entropy on a part of an episode."""
        logits, inputs, labels = self.learner.on(part.names), inputs.to(self.device), part.labels.to(self.device)
        return lambda prompts: F.cross_entropy(logits(prompts, inputs), labels)

    def outer_step(self, episodes, learned):
        """One step of Adam on the mean outer loss of all processes' episodes; returns [query loss, other's], means."""
        own, total = self.own, None
        losses = torch.zeros(2, device=self.device)
        with twice_differentiable():
            for support, query, other in episodes:
                queries = [(1.0, self.loss(*query))] + ([(own.OTHER_WEIGHT, self.loss(*other))] if other else [])
                found, values = meta_gradients(self.loss(*support), queries, self.start, self.rates(),
                                               self.regulator if own.REGULATE else None, own.INNER_STEPS,
                                               1 if own.FIRST_ORDER else 2, learned)
                total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
                losses += torch.stack([values[0], values[-1]])
        if total is None:  # more processes than episodes
            total = [torch.zeros_like(p) for p in learned]
        share = distributed.world_size() / own.EPISODES  # the processes may have different numbers of episodes
        found = distributed.mean([g * share for g in total] + [losses * share])
        *gradients, losses = found
        norm = torch.stack([g.norm() for g in gradients]).norm()
        if not torch.isfinite(norm):
            raise InputError("the outer gradient is not finite: lower TRAINER.GRAM.INNER_LR, META_LR or INNER_STEPS")
        for parameter, gradient in zip(learned, gradients, strict=True):
            parameter.grad = gradient * (own.CLIP_NORM / norm.clamp_min(own.CLIP_NORM))
        self.optimizer.step()
        return losses.detach().cpu()

    def rates(self):
        return {name: value.exp() for name, value in self.log_rates.items()}

    def rates_by_name(self):
        return {name: float(value.detach()) for name, value in self.rates().items()}

    def save(self, step, about):
        """Write all that an exact resumption needs."""
        if distributed.rank() == 0:
            checkpoint.write({"step": step, "start": {n: v.detach().cpu() for n, v in self.start.items()},
                              "plain": {n: v.cpu() for n, v in self.plain.items()},
                              "regulator": {n: v.cpu() for n, v in self.regulator.state_dict().items()},
                              "log_rates": {n: v.detach().cpu() for n, v in self.log_rates.items()},
                              "optimizer": self.optimizer.state_dict(), "about": about},
                             Path(self.cfg.OUTPUT_DIR) / STATE)

    @torch.no_grad()
    def resume(self, about):
        """Take the state of an earlier run of the same settings; returns its step, 0 where there is none."""
        path = Path(self.cfg.OUTPUT_DIR) / STATE
        if not path.exists():
            return 0
        state = checkpoint.read(path)
        if state.get("about") != about:
            raise InputError(f"{path} is of a run with another config "
                             f"({'; '.join(difference(about, state.get('about', {})))}): delete it, or choose another "
                             "--output-dir")
        for name in self.start:
            self.start[name].copy_(state["start"][name])
            self.plain[name].copy_(state["plain"][name])
            self.log_rates[name].copy_(state["log_rates"][name])
        self.regulator.load_state_dict(state["regulator"])
        self.optimizer.load_state_dict(state["optimizer"])
        print(f"Resumed from {path} (step {state['step']})")
        return state["step"]

    # ---- the report

    def evaluate(self, tasks):
        """Adapt to tasks of held-out domains three ways; returns {way: {"loss": of queries, "accuracy": percent}}."""
        start = {name: value.detach() for name, value in self.start.items()}
        ways = {"plain start": (self.plain, None), "meta start": (start, None)}
        if self.own.REGULATE:
            ways["meta start, regulated"] = (start, self.regulator)
        rates = {name: rate.detach() for name, rate in self.rates().items()}
        return {"episodes": self.own.EVALUATE, **compare(self, tasks, ways, rates, self.own.EVALUATE)}


def compare(trainer, tasks, ways, rates, count):
    """Adapt to ``count`` episodes in each of several ways.

    Args:
        trainer: ``GRAM``, for its inputs, losses and inner steps.
        tasks: ``Episodes``.
        ways: {name: (start, regulator or None)}.
        rates: {parameter name: step size}.

    Returns:
        {name: {"loss": mean query loss, "accuracy": percent of the queries, "before": mean query loss unadapted}}.
    """
    sums = {way: torch.zeros(3) for way in ways}
    for i in tqdm(range(distributed.rank(), count, distributed.world_size()), "held-out episodes", unit="episode",
                  mininterval=2, disable=distributed.rank() > 0):
        episode = tasks.draw(i)
        support = trainer.loss(episode.support, trainer.inputs(episode.support.rows))
        logits, labels = trainer.learner.on(episode.query.names), episode.query.labels.to(trainer.device)
        inputs = trainer.inputs(episode.query.rows).to(trainer.device)
        for way, (start, regulator) in ways.items():
            theta = adapt(support, start, rates, regulator, trainer.own.INNER_STEPS, order=0)
            with torch.no_grad():
                before, after = logits(start, inputs), logits(theta, inputs)
                sums[way] += torch.stack([F.cross_entropy(after, labels),
                                          100 * (after.argmax(1) == labels).float().mean(),
                                          F.cross_entropy(before, labels)]).cpu()
    share = distributed.world_size() / count
    means = distributed.mean([total.to(trainer.device) * share for total in sums.values()])
    if not all_finite(means):
        raise InputError(f"the losses on held-out episodes are not finite under PREC {trainer.own.PREC}: take fp32, or "
                         "lower TRAINER.GRAM.INNER_LR")
    return {way: dict(zip(("loss", "accuracy", "before"), map(float, mean), strict=True))
            for way, mean in zip(ways, means, strict=True)}


def describe(reports):
    """Return a table of the query losses on held-out domains in the reports of one or several seeds."""
    title = f"{len(reports)} seed{'s' * (len(reports) > 1)}, {reports[0]['episodes']} episodes each"
    lines = [f"Held-out domains, after adaptation ({title}):",
             f"  {'':24} {'query loss':>17} {'accuracy':>15} {'loss before':>17}"]
    for way in [w for w in reports[0] if isinstance(reports[0][w], dict) and "loss" in reports[0][w]]:
        cells = []
        for key, digits in (("loss", 4), ("accuracy", 2), ("before", 4)):
            values = torch.tensor([report[way][key] for report in reports], dtype=torch.float64)
            cells.append(f"{values.mean():.{digits}f}" + (f" ± {values.std():.{digits}f}" if len(values) > 1 else ""))
        lines.append(f"  {way:24} {cells[0]:>17} {cells[1]:>15} {cells[2]:>17}")
    return "\n".join(lines)


class _timed:
    def __init__(self, seconds, stage):
        self.seconds, self.stage = seconds, stage

    def __enter__(self):
        self.begin = time.time()

    def __exit__(self, *_):
        self.seconds[self.stage] = round(time.time() - self.begin, 2)


def _hash(value):
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=4).hexdigest()
