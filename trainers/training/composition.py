"""Methods composed by name: ``--trainer GRAM+DePT+CoOp`` is GRAM over DePT over CoOp.

A wrapper is a mix-in that ``wrapper`` enters; the last part is a method, the parts before it wrappers, the outermost
first. One composition has one name, which its folders, checkpoints and tables carry. So wrappers stand in one order,
that of their ``LAYER`` (start and gradient before features and loss; wrappers of one layer as written), and another
name of a composition (``protocols.names.ALIASES``) means the same trainer: ``GRAM+CoOp`` is GRAMCoOp.
"""
import difflib
from collections.abc import Callable, Collection
from typing import TypeVar

from ..compat.registry import TRAINERS
from ..errors import InputError
from ..protocols.names import ALIASES
from .objective import Objective
from .trainer import trainer_of

W = TypeVar("W", bound=type)
GRADIENT, FEATURES = 0, 1  # LAYER: what a wrapper changes; the smaller stands further out
WRAPPERS: dict[str, type] = {}  # by name


def wrapper(layer: int) -> Callable[[W], W]:
    """Return a class decorator that enters a mix-in as a wrapper of that layer: ``@wrapper(FEATURES)``."""
    def enter(cls: W) -> W:
        cls.WRAPPER, cls.LAYER = cls.__name__, layer  # type: ignore[attr-defined]
        WRAPPERS[cls.__name__] = cls
        return cls
    return enter


def compose(wrapper: type, method: type, name: str = "", doc: str = "") -> type:
    """Return the method that is ``method`` wrapped by a mix-in: ``compose(GRAM, CoOp)`` is GRAMCoOp.

    Args:
        wrapper: a mix-in, a ``PromptMethod`` that overrides some of the seams and calls ``super()`` there.
        method: any other method.
        name: of the result, if not both names in a row.
        doc: its docstring.

    Raises:
        InputError: the wrapper does not fit the method (its ``check_composition``).
    """
    made = type(name or wrapper.__name__ + method.__name__, (wrapper, method), {
        "__doc__": doc or f"{wrapper.__name__} over {method.__name__}.", "__module__": method.__module__})
    made.check_composition()  # type: ignore[attr-defined]
    return made


def find(name: str) -> str:
    """Return the name of the trainer that ``name`` means, entering a composition that is asked for the first time.

    Raises:
        InputError: a composition of unknown parts, in another order, or that makes no sense.
    """
    name = ALIASES.get(name, name)
    if "+" not in name or name in TRAINERS.entries:
        return name
    *outer, last = name.split("+")
    _check_parts(name, outer, last)
    method = TRAINERS.entries[last].METHOD
    if any(issubclass(method, cls) for cls in WRAPPERS.values()):
        raise InputError(f"{name}: {last} is a composition already: name its method alone, behind all wrappers")
    for part in reversed(outer):
        method = compose(WRAPPERS[part], method, f"{part}+{method.__name__}")
    TRAINERS.add(trainer_of(method))
    return name


def _check_parts(name: str, outer: list[str], last: str) -> None:
    for part in outer:
        if part not in WRAPPERS:
            raise InputError(f"{name}: {part} is a method, and wraps none: the wrappers are {', '.join(WRAPPERS)}"
                             if part in TRAINERS.entries else _unknown(name, "wrapper", part, WRAPPERS))
        if outer.count(part) > 1:
            raise InputError(f"{name}: {part} stands there twice, and once is all that it can do")
    if not issubclass(getattr(TRAINERS.entries.get(last), "METHOD", object), Objective):
        raise InputError(f"{name}: {last} is a wrapper: a method must stand behind it, {name}+CoOp say"
                         if last in WRAPPERS else _unknown(name, "method", last, TRAINERS.entries))
    ordered = sorted(outer, key=lambda part: WRAPPERS[part].LAYER)  # type: ignore[attr-defined]
    if outer != ordered:
        raise InputError(f"{name}: one composition has one name: write {'+'.join([*ordered, last])}")


def _unknown(name: str, kind: str, part: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(part, known, 1, 0.5)
    return f"{name}: there is no {kind} {part or '(empty)'}: " + (
        f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(known))}")


TRAINERS.find = find
