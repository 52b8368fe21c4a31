"""Trained prompts meet a method, a CLIP and classes: what does not belong together is refused.

The same tensors give other figures under another method, on other weights, at another place in the sentence or for
other classes, and nothing in their shapes tells. So a checkpoint's own account of its making is compared with what it
is loaded into. TRAINER.PROMPTREG.ALLOW_MISMATCH True lets it pass, with a note that the result keeps.
"""
import re
from collections.abc import Sequence
from typing import Any

import torch

from ..clip import weights
from ..config.yaml_text import flatten
from ..errors import InputError
from . import identity
from .checkpoint import LEARNED, short
from .trained import TrainedPrompts

OVERRIDE = "TRAINER.PROMPTREG.ALLOW_MISMATCH"
INPUT_KEYS = ("INPUT.SIZE", "INPUT.INTERPOLATION", "INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD")
DEEP = re.compile(r"VPT_shallow$|compound_prompt(s_text|_projections)\.\d+(\.|$)")


def load_into(method: Any, trained: TrainedPrompts, as_start: bool = False) -> None:
    """Copy trained prompts into a method's, after comparing what they were made for with what is here.

    Args:
        method: a ``base.PromptMethod``.
        trained: the prompts.
        as_start: they are where a training starts (MODEL.INIT_WEIGHTS), which may be of another method.

    Raises:
        InputError: a difference, a tensor that is missing, left over, of another shape or not finite.
    """
    trained = method.fit_classes(trained, as_start)
    different = [] if as_start else differences(method, trained)
    state, other_classes = for_classes(method, trained)
    different += other_classes + other_tensors(method.prompts, trained)
    if different:
        method.mismatch(f"{trained.path} was made for something else ({'; '.join(different)})")
    for text in trained.notes:
        method.note(text)
    load_prompts_into(method.prompts, state, trained.path)
    method.forget_text_features()


def note_origin(method: Any, trained: TrainedPrompts) -> None:
    """Note what a run's result must say of the prompts that it evaluates: another sample, or data not recorded."""
    if trained.published:
        return
    for text in [*other_sample(method.cfg, trained), *([] if trained.identity else [identity.NOT_RECORDED])]:
        method.note(text)


def differences(method: Any, trained: TrainedPrompts) -> list[str]:
    """Return in words what a checkpoint says of its making that is otherwise here: method, weights, keys."""
    if trained.published:
        return []
    here, there = flatten(method.cfg), flatten(trained.config or {})
    found = [f"trainer {trained.trainer} there, {type(method).__name__} here"] \
        if trained.trainer != type(method).__name__ else []
    found += other_weights(method, trained, str(there.get("MODEL.BACKBONE.NAME", "")))
    own = {f"TRAINER.{method.SECTION}.{key}": method.method_cfg[key] for key in method.FORWARD_KEYS}
    for key, value in {**{key: here.get(key) for key in INPUT_KEYS}, **own}.items():
        if key in there and _plain(there[key]) != _plain(value):
            found.append(f"{key} {there[key]} there, {value} here")
    return found


def other_sample(cfg: Any, trained: TrainedPrompts) -> list[str]:
    """Return in words where prompts were trained with another seed or shots than the evaluation's result will say."""
    here, there = flatten(cfg), flatten(trained.config or {})
    shots = here["DATASET.NUM_SHOTS"] > 0 and here["DATASET.NUM_SHOTS"] != there.get("DATASET.NUM_SHOTS")
    if not (shots or here["SEED"] != there.get("SEED")):
        return []
    return [f"the prompts were trained with seed {there.get('SEED')} and {there.get('DATASET.NUM_SHOTS')} shots; this "
            f"result is listed under seed {here['SEED']} and {here['DATASET.NUM_SHOTS']} shots"]


def other_weights(method: Any, trained: TrainedPrompts, backbone: str) -> list[str]:
    """Return in words how the CLIP of a checkpoint differs from a method's; by the file's hash where both have one."""
    name, there = method.cfg.MODEL.BACKBONE.NAME, trained.identity.get("weights")
    if there and method.clip.path:
        return identity.differences({"weights": method.clip.fingerprint}, {"weights": there})
    unknown = not backbone or any(map(weights.is_file_name, (backbone, name)))  # a path says nothing of what it holds
    if unknown or weights.split_name(backbone) == weights.split_name(name):
        return []
    return [f"MODEL.BACKBONE.NAME {backbone} there, {name} here"]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def for_classes(method: Any, trained: TrainedPrompts) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return (the state dict, class-specific tensors in the order of the method's classes, differences in words).

    The same names in another order are put in order; other names, or none, are a difference.
    """
    own, here, there = method.prompts.state_dict(), list(method.classnames), list(trained.classnames or ())
    state = {name: _named(trained.state_dict, name) for name in own} | dict(trained.state_dict)
    names = [name for name in method.prompts.per_class if torch.is_tensor(state[name])
             and state[name].dim() == own[name].dim()]  # else the shapes tell
    if not names or there == here:
        return state, []
    if not there:
        return state, ["its contexts are class-specific, and it does not say of which classes"]
    if sorted(there) != sorted(here) or len(set(here)) < len(here):
        return state, [f"its contexts are class-specific, of {listed(there, here)}; here are {listed(here, there)}"]
    order = [there.index(name) for name in here]
    return state | {name: state[name][order] for name in names if len(state[name]) == len(order)}, []


def listed(names: Sequence[str], others: Sequence[str], most: int = 6) -> str:
    """Return class names in words, those that the other list lacks first."""
    first = sorted(names, key=lambda name: name in others)
    return f"{len(names)} classes ({', '.join(first[:most])}{', …' if len(names) > most else ''})"


def other_tensors(prompts: Any, trained: TrainedPrompts) -> list[str]:
    """Return in words which learned tensors of a checkpoint a method has no use for.

    Raises:
        InputError: one that the method needs is missing.
    """
    own, state = prompts.state_dict(), trained.state_dict
    missing = [name for name in own if not torch.is_tensor(_named(state, name))]
    short_names = {short(name) for name in own}
    surplus = [name for name in state if name not in own and name not in short_names
               and (LEARNED.match(name) or not trained.published)]
    deep = all(DEEP.search(name) for name in missing + surplus)
    if missing:
        raise InputError(f"{trained.path} has no {missing[0]}: "
                         + ("its prompts are less deep than PROMPT_DEPTH here" if deep and not surplus else
                            "it was written by another method"))
    return [f"it also has {surplus[0]}, " + ("its prompts are deeper than PROMPT_DEPTH here" if deep else
                                             "which the method here does not learn")] if surplus else []


def _named(state: dict[str, Any], name: str) -> Any:
    """Return a state dict's value of a published name, which a file of the prompt learner alone shortens."""
    return state.get(name, state.get(short(name)))


@torch.no_grad()
def load_prompts_into(prompts: Any, state: dict[str, torch.Tensor], path: Any) -> None:
    """Copy into ``prompts`` what ``state`` holds under the published names; all of it or nothing.

    Files of the published implementations hold the prompt learner alone (names without ``prompt_learner.``) or the
    whole model (its weights are passed over), and the class-dependent token_prefix and token_suffix (likewise).

    Raises:
        InputError: a parameter is missing, has another shape, or is not finite.
    """
    own = prompts.state_dict()
    for name, parameter in own.items():
        value = _named(state, name)
        if not torch.is_tensor(value):
            raise InputError(f"{path} has no {name}: it was written by another method")
        if value.shape != parameter.shape:
            raise InputError(f"{path}: {name} is {list(value.shape)} there and {list(parameter.shape)} here: the "
                             "depth, the context length, the backbone or (for class-specific contexts) the classes "
                             "differ")
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: {name} has entries that are not finite: train it again")
    for name, parameter in own.items():
        parameter.copy_(_named(state, name))
