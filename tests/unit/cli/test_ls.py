"""promptreg ls methods: what is read from the files, without torch, is what importing them registers."""
from trainers.cli import ls
from trainers.compat.registry import TRAINERS
from trainers.training.composition import WRAPPERS


def test_methods_are_those_that_importing_them_registers():
    registered = {name: (kind.__doc__ or "").partition("\n")[0] for name, kind in TRAINERS.entries.items()
                  if name == kind.__name__ and "+" not in name and kind.__module__.startswith("trainers.")
                  and not kind.__module__.startswith("trainers.study")}  # an ablation's, entered where one runs
    listed = ls.methods()
    wrappers = {f"{name}+METHOD": (cls.__doc__ or "").partition("\n")[0] for name, cls in WRAPPERS.items()}
    assert set(listed) == {*registered, *wrappers} and {"GRAMCoOp", "DePT+METHOD"} <= set(listed)
    assert {name: doc for name, doc in listed.items() if name != "GRAM"} == wrappers | {
        name: doc for name, doc in registered.items() if name != "GRAM"}
