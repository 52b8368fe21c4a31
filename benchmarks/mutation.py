"""Would the tests notice? Operators and constants of trainers/regulate and trainers/clip, changed one at a time.

    python benchmarks/mutation.py [--jobs 2] [--survivors] [--seconds 15] [--files trainers/clip/text.py …]

First the tests run once unchanged, which tells the lines that each reaches and the time it takes. Then, for every
mutant, the tests that reach its line run, the quick ones first, until one fails or ``--seconds`` are over. Every run is
a fork of this process, which has imported all but the repository's own modules, in a copy of the repository that holds
the mutated file. What a run leaves out, or does not come to, keeps the outcome it has, if its line is as it was.

killed: a test fails. timeout: the tests need five times the processor time they need otherwise, as in an endless loop.
survived: all pass, or none reaches the line; benchmarks/mutation.md gives the reason for each, and the exit status is
1 where it lacks one or has one too many, or where less than 85% is killed. Strings, and all within f-strings, stay as
they are.
"""
import argparse
import ast
import collections
import copy
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", TRITON_INTERPRET="1")

import coverage
import hypothesis
import matplotlib.figure  # noqa: F401
import open_clip  # noqa: F401
import pytest
import sklearn.cluster  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import torchvision  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("trainers/regulate", "trainers/clip")
TESTS = ["tests/unit/regulate", "tests/unit/clip", "tests/faults/test_weights_by_path.py",
         "tests/faults/test_open_clip_config.py", "tests/faults/test_transformers_files.py",
         "tests/golden/test_golden_trainers.py", "tests/unit/gram/test_gram.py", "tests/cuda/test_kernels.py",
         "tests/cuda/test_budgets.py",
         "tests/unit/meta/test_meta_gradients.py", "tests/security/test_malicious.py::test_checkpoint",
         "tests/security/test_malicious.py::test_open_clip_unpickles_nothing",
         "tests/unit/training/test_training.py::test_low_precision_stays_near_float32",
         "tests/unit/training/test_training.py::test_where_half_precision_is_not_to_be_had_float32_is_taken"]
INTERPRETED = "trainers/clip/kernels.py"  # by Triton from a source of its own, whose lines coverage does not see
KEPT, REASONS = ROOT / "benchmarks/results/mutation.json", ROOT / "benchmarks/mutation.md"
FAILED = ("killed", "timeout")  # outcomes of a mutant that the tests notice
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
         ast.Pow: ast.Mult, ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
         ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And}


# ---- mutants

def variants(node):
    """Yield changed copies of one node: another operator, another number, the other truth value, a sign less."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        changed = copy.copy(node)
        changed.op = SWAPS[type(node.op)]()
        yield changed
    elif isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            if type(operator) in SWAPS:
                changed = copy.copy(node)
                changed.ops = [*node.ops[:i], SWAPS[type(operator)](), *node.ops[i + 1:]]
                yield changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        yield ast.Constant(not value if isinstance(value, bool) else value + 1 if isinstance(value, int) or not value
                           else 2 * value)


def walk(node):
    """Yield the node and all below it but annotations and the insides of f-strings."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or isinstance(node, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from walk(child)


def mutants(name):
    """Yield a file's mutants, each as a dict; text is the whole changed file."""
    source = (ROOT / name).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in walk(ast.parse(source)):
        for changed in variants(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            now = ast.unparse(changed)
            put = now if isinstance(node, (ast.Constant, ast.AugAssign)) else f"({now})"
            yield {"file": name, "line": node.lineno, "column": node.col_offset,
                   "source": source.splitlines()[node.lineno - 1].decode().strip(), "was": ast.unparse(node),
                   "now": now, "outcome": "not tried", "text": source[:begin] + put.encode() + source[end:]}


# ---- runs of the tests

class Chosen:
    """A pytest plugin that runs the named tests alone, in that order."""

    def __init__(self, names):
        self.place = {name: i for i, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda i: self.place[i.nodeid])


class Recorder:
    """A pytest plugin that notes each test's processor time and the lines that it, or a fixture of it, reaches."""

    def __init__(self, folder):
        self.files = {name: str(folder / name) for name in sources()}
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=list(self.files.values()))
        self.seconds, self.fixtures, self.failed = {}, {}, []
        self.coverage.start()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        self.coverage.switch_context(item.nodeid)
        begin = time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - begin
        found = getattr(item, "_fixtureinfo", None)
        self.fixtures[item.nodeid] = [d for defs in found.name2fixturedefs.values() for d in defs] if found else []

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        if fixturedef.scope != "function":  # made once, for all tests that ask for it
            self.coverage.switch_context(f"fixture {id(fixturedef)}")
        yield
        if fixturedef.scope != "function":
            self.coverage.switch_context(request._pyfuncitem.nodeid)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)

    def found(self):
        """Return {file: {line: [tests]}}; a line that runs when it is imported has all tests."""
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for name, path in self.files.items():
            lines[name] = {}
            if name == INTERPRETED:
                contexts = set().union(*data.contexts_by_lineno(path).values())
                last = len(Path(path).read_text().splitlines())
                lines[name] = dict.fromkeys(range(1, last + 1), [test for test in self.seconds if test in contexts])
                continue
            for line, contexts in data.contexts_by_lineno(path).items():
                reached = [test for test in self.seconds if test in contexts
                           or any(f"fixture {id(d)}" in contexts for d in self.fixtures[test])]
                lines[name][line] = list(self.seconds) if "" in contexts else reached
        return lines


def sources():
    """Return the files whose mutants are tried."""
    return [str(path.relative_to(ROOT)) for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]


def in_child(folder, work, seconds):
    """Fork; the child runs ``work`` in ``folder``, silent, with so much processor time. Returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        os.chdir(folder)
        sys.dont_write_bytecode = True  # a mutant of the same second and size would run as the one before
        sys.path[:0] = [str(folder), str(folder / "tests")]
        log = os.open("console.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))  # an endless loop may fill the memory first
        hypothesis.settings.register_profile("mutation", derandomize=True, database=None)
        hypothesis.settings.load_profile("mutation")
        code = work()
    finally:
        os._exit(code)


def pytest_in(names, *plugins):
    quick = ["-x", "-q", "--assert=plain", "--tb=line", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"]
    return int(pytest.main([*quick, *names], plugins=list(plugins)))


def record(folder):
    """Run all tests unchanged; returns ({file: {line: [tests]}}, {test: seconds})."""
    kept = folder / "record.json"

    def work():
        recorder = Recorder(folder)
        code = pytest_in(TESTS, recorder)
        kept.write_text(json.dumps([recorder.found(), recorder.seconds]))
        return code

    _, status = os.waitpid(in_child(folder, work, 3600), 0)
    if status:
        sys.exit(f"{(folder / 'console.txt').read_text()[-3000:]}\nthe tests fail without any mutant")
    lines, seconds = json.loads(kept.read_text())
    return {name: {int(line): tests for line, tests in found.items()} for name, found in lines.items()}, seconds


def plan(mutant, lines, seconds, most):
    """Return the tests for a mutant: every function's quickest first, then the rest, up to ``most`` seconds."""
    order, seen = [], {}
    for test in sorted(lines[mutant["file"]].get(mutant["line"], ()), key=seconds.get):
        function = test.partition("[")[0]
        seen[function] = seen.get(function, -1) + 1
        order.append((seen[function], seconds[test], test))
    chosen, total = [], 0
    for _, taken, test in sorted(order):
        if total + taken <= most or not chosen:
            chosen.append(test)
            total += taken
    return chosen, total


def run(queue, folders, lines, seconds, most):
    """Try the mutants, in every folder one at a time; sets the outcome of each, and how many tests it had to pass."""
    running, free = {}, list(folders)
    for mutant in queue:
        tests, taken = plan(mutant, lines, seconds, most)
        mutant["tests"] = len(tests)
        if not tests:
            note(mutant, "survived")
            continue
        folder = free.pop() if free else ended(running)
        file = folder / mutant["file"]
        whole = file.read_bytes()
        file.write_bytes(mutant["text"])
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        child = in_child(folder, lambda tests=tests, files=files: pytest_in(files, Chosen(tests)), 20 + 5 * taken)
        running[child] = mutant, folder, whole
    while running:
        ended(running)


def ended(running):
    """Wait for one of the children; returns its folder, as it was before."""
    child, status = os.wait()
    mutant, folder, whole = running.pop(child)
    (folder / mutant["file"]).write_bytes(whole)
    note(mutant, "timeout" if os.WIFSIGNALED(status) else "killed" if os.WEXITSTATUS(status) else "survived")
    return folder


def note(mutant, outcome):
    mutant["outcome"] = outcome
    if outcome != "killed":
        print(f"{outcome} {mutant['tests']} tests: {mutant['file']}:{mutant['line']}: {mutant['source']}\n"
              f"    {mutant['was']}  ->  {mutant['now']}", flush=True)


def keep(mutants, seconds):
    """Write the results, a line a mutant."""
    lines = ",\n".join(json.dumps(mutant) for mutant in mutants)
    KEPT.write_text(f'{{"seconds": {json.dumps(seconds)}, "mutants": [\n{lines}\n]}}\n')


def keyed(mutants):
    """Return {what tells each from the others, wherever its line has moved: mutant}; equal lines are counted."""
    found, seen = {}, collections.Counter()
    for mutant in mutants:
        key = tuple(mutant[part] for part in ("file", "source", "column", "was", "now"))
        seen[key] += 1
        found[(*key, seen[key])] = mutant
    return found


def main():
    parser = argparse.ArgumentParser(description="Mutants of trainers/regulate and trainers/clip.")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--files", nargs="+", metavar="FILE", default=sources(), help="of these alone")
    parser.add_argument("--survivors", action="store_true", help="those alone that no kept run has seen fail")
    parser.add_argument("--seconds", type=float, default=15, help="of tests that a mutant has to survive")
    args = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {"mutants": []}
    every, before = [mutant for name in sources() for mutant in mutants(name)], keyed(kept["mutants"])
    for key, mutant in keyed(every).items():
        mutant.update({part: before[key][part] for part in ("outcome", "tests") if part in before.get(key, ())})
    queue = [m for m in every if m["file"] in args.files and not (args.survivors and m["outcome"] in FAILED)]
    begin = time.time()
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / str(i) for i in range(args.jobs)]
        for folder in folders:
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "output"))
        lines, seconds = record(folders[0])
        print(f"{len(seconds)} tests take {sum(seconds.values()):.0f} s of processor time; {len(queue)} mutants to try",
              flush=True)
        try:
            run(queue, folders, lines, seconds, args.seconds)
        finally:
            tried = [{part: value for part, value in mutant.items() if part != "text"} for mutant in every]
            keep(tried, round(time.time() - begin))
    return report(every)


def row(mutant):
    """Return a mutant's row of the page of reasons, without the reason."""
    place, source, was, now = (mutant[part].replace("|", "\\|") for part in ("file", "source", "was", "now"))
    return f"| {place} | `{source}` | `{was}` → `{now}`"


def report(every):
    """Print the counts and the survivors; returns 0 where all is as it should be."""
    counts = {outcome: sum(m["outcome"] == outcome for m in every)
              for outcome in ("killed", "timeout", "survived", "not tried")}
    share = sum(counts[outcome] for outcome in FAILED) / len(every)
    explained = {line.rpartition(" | ")[0] for line in REASONS.read_text().splitlines()
                 if line.startswith("| trainers/") and not line.endswith(" |  |")}
    survivors = {row(m) for m in every if m["outcome"] == "survived"}
    print(f"{len(every)} mutants: " + ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
          + f"; {share:.1%} make a test fail")
    for what, rows in (("lacks a reason of", survivors - explained), ("has a needless one of", explained - survivors)):
        if rows:
            print(f"{REASONS.relative_to(ROOT)} {what}:", *(f"{found} |  |" for found in sorted(rows)), sep="\n")
    return int(share < 0.85 or survivors != explained or counts["not tried"] > 0)


if __name__ == "__main__":
    sys.exit(main())
