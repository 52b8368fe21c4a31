"""What is legal, changes a run's figure and is easily overlooked: refused, or said in one line, before it starts."""
from collections.abc import Iterator
from typing import Any

from torchvision.transforms import Normalize

from ..clip.tokens import clean
from ..config.defaults import defaults_of
from ..errors import InputError

NEVER_SEEN = "has never seen"  # in the note of class names that a CLIP does not know


def check_normalized(loader: Any) -> None:
    """Raise InputError where a data loader's images are not normalized: INPUT.TRANSFORMS decides for the test as well.

    A loader whose transform is not torchvision's is left alone: it may be of a host's own dataset.
    """
    steps = getattr(getattr(getattr(loader, "dataset", None), "transform", None), "transforms", None)
    if steps and not any(isinstance(step, Normalize) for step in steps):
        raise InputError('INPUT.TRANSFORMS lacks "normalize": images would have another scale than those that CLIP was '
                         "trained on, in training and in evaluation; add it")


def report(trainer: Any) -> None:
    """Log what a reader of a run's figure must know of its classes and keys, one line each."""
    for text in (*same_prompts(trainer), *unknown_words(trainer.model), *ignored_keys(trainer.model)):
        trainer.note(text)


def report_schedule(trainer: Any) -> None:
    """Log where the optimizer's schedule leaves the prompts about as they started."""
    optim = trainer.cfg.OPTIM
    if optim.MAX_EPOCH == 0:
        trainer.note("OPTIM.MAX_EPOCH is 0: nothing is trained, the figure is that of the prompts as they start")
    elif optim.WARMUP_EPOCH >= optim.MAX_EPOCH:
        trainer.note(f"OPTIM.WARMUP_EPOCH {optim.WARMUP_EPOCH} covers OPTIM.MAX_EPOCH {optim.MAX_EPOCH}: the learning "
                     f"rate stays in its warm-up and never reaches OPTIM.LR {optim.LR:g}")


def same_prompts(trainer: Any) -> Iterator[str]:
    """Yield a line where classes cannot be told apart: CLIP reads the same tokens for them, or there is only one."""
    method, names = trainer.model, trainer.model.classnames
    if len(names) == 1:
        yield f"there is one class only ('{names[0]}'): every image is classified right, whatever the prompts are"
    encode = method.clip.tokenizer.encode
    rows = method.rows or [encode(clean(name)) for name in names]
    groups: dict[tuple, list[int]] = {}
    for c, row in enumerate(rows):
        groups.setdefault(tuple(row), []).append(c)
    same = [classes for classes in groups.values() if len(classes) > 1]
    if same and not getattr(trainer.dm.dataset, "published", None):  # ImageNet's own list has two such pairs
        shown = "; ".join(" and ".join(f"'{names[c]}' (class {c})" for c in classes) for classes in same[:3])
        more = f"; and {len(same) - 3} more" if len(same) > 3 else ""
        yield f"CLIP reads the same prompt for these classes and cannot tell them apart: {shown}{more}"


def unknown_words(method: Any) -> Iterator[str]:
    """Yield a line where class names have words that the CLIP has never seen, if it tells which it has (the demo's)."""
    known = method.clip.known_tokens
    if known is None:
        return
    names = [name for name in method.classnames if not set(method.clip.tokenizer.encode(clean(name))) <= known]
    if names:
        shown = ", ".join(f"'{name}'" for name in names[:3]) + (", …" if len(names) > 3 else "")
        yield (f"CLIP {method.clip.name} {NEVER_SEEN} words of {len(names)} of the {len(method.classnames)} class "
               f"names ({shown}): these figures say nothing of what CLIP can do")


def ignored_keys(method: Any) -> Iterator[str]:
    """Yield a line for each key of the method that CTX_INIT decides over, as published, where it asks for another."""
    own, section = method.method_cfg, f"TRAINER.{method.SECTION}"
    learner = getattr(method.prompts, "prompt_learner", None)
    if learner is None or not own.get("CTX_INIT"):
        return
    n_ctx, given = learner.ctx.shape[-2], own.get("N_CTX")
    if "N_CTX_TEXT" in own or "PROMPT_DEPTH" in own:  # prompts in both towers
        if n_ctx > 4:
            yield (f"{section}.CTX_INIT has no effect: as published, more than 4 context vectors ({n_ctx} here) start "
                   "at random")
    elif given not in (None, n_ctx, defaults_of(method.SECTION).get("N_CTX")):
        yield (f"{section}.N_CTX {given} has no effect: CTX_INIT {own.CTX_INIT!r} sets {n_ctx} context vectors; for "
               f'N_CTX to count, give CTX_INIT ""')
    if own.get("CSC") and learner.ctx.dim() == 2:
        yield (f"{section}.CSC True has no effect: with CTX_INIT all classes share their context; for CSC to count, "
               'give CTX_INIT ""')
