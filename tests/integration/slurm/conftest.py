"""A true SLURM for the tests of this folder, where its programs are installed; they are skipped elsewhere."""
import contextlib
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
from support import slurm_accounting, slurm_cluster
from support.paths import ROOT

from trainers.cli.sweep import main


@pytest.hookimpl(trylast=True)  # behind pytest-randomly
def pytest_collection_modifyitems(items):
    """Begin with the tests of this folder: they wait more than they work, and others fill the time."""
    items.sort(key=lambda item: Path(__file__).parent not in item.path.parents)


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory):
    lacking = slurm_cluster.missing()
    if lacking:
        pytest.skip(f"SLURM is not installed here ({', '.join(lacking)}): apt-get install slurm-wlm munge")
    pytest.importorskip("submitit", reason="submitit is not installed (the extra [cluster])")
    with slurm_cluster.started(slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm") / "cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster):
    """Yield the cluster, its nodes idle; ends what the test has left in its queue."""
    for node in running_cluster.nodes:
        if node not in running_cluster.processes:
            running_cluster.start_node(node)
        running_cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")  # where it is not up
    running_cluster.wait_for_nodes()
    yield running_cluster
    running_cluster.ask("scancel", "--user=root")
    running_cluster.wait(lambda: not running_cluster.states(), "an empty queue")


class Sweeps:
    """Calls of ``promptreg sweep`` on a cluster, in a folder, whose runs are tests/support/fake_train.py's.

    A sweep is a fork of this process, which has imported torch: that takes most of a small sweep's time.
    """

    def __init__(self, cluster, folder: Path) -> None:
        self.cluster, self.folder, self.begun = cluster, folder, []
        self.gate = folder / "go on"  # what runs under FAKE_UNTIL wait for
        python = folder / "python"
        python.write_text(f"""#!/bin/sh
case "$2" in script) exec "{sys.executable}" "$@" ;; esac
exec "{sys.executable}" -S -E "{ROOT}/tests/support/fake_train.py" "$@"
""")
        python.chmod(0o755)
        self.environment = {"PYTHON": str(python), "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        self.environment |= {name: cluster.environment[name] for name in ("PATH", "SLURM_CONF")}

    def flags(self, seeds: int, *more: str) -> list[str]:
        return ["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--shots", "1", "--cfg", "demo",
                "--seeds", *map(str, range(1, seeds + 1)), "--executor", "slurm", "--gpus", "0", "--cpus", "1", "--mem",
                "100MB", "--time", "5", *more]

    def begin(self, seeds: int, *more: str, **environment: str) -> multiprocessing.Process:
        """Start a sweep; its runs wait for the ``gate`` where the environment has ``FAKE_UNTIL``."""
        environment = {**self.environment, **environment}
        out = self.folder / f"out{len(self.begun)}.txt"
        process = multiprocessing.get_context("fork").Process(
            target=sweep, args=(self.flags(seeds, *more), self.folder, out, environment), name=str(out))
        out.touch()
        process.start()
        self.begun.append(process)
        return process

    def held(self, seeds: int, *more: str, **environment: str) -> multiprocessing.Process:
        """Start a sweep whose runs do not end before ``release``."""
        return self.begin(seeds, *more, FAKE_UNTIL=str(self.gate), **environment)

    def release(self) -> None:
        self.gate.touch()

    def call(self, seeds: int, *more: str, **environment: str) -> tuple[int, str]:
        """Return (exit code, all that was printed)."""
        return self.ended(self.begin(seeds, *more, **environment))

    @staticmethod
    def ended(process: multiprocessing.Process, seconds: float = slurm_cluster.PATIENCE) -> tuple[int, str]:
        process.join(seconds)
        out = Path(process.name).read_text()
        assert process.exitcode is not None, out
        return process.exitcode, out

    def says(self, process: multiprocessing.Process, words: str) -> None:
        """Wait until a sweep has printed these words."""
        self.cluster.wait(lambda: words in Path(process.name).read_text(), words)

    def logs(self) -> dict[str, list[str]]:
        """Return {seed's folder: lines of its log}: one for each time the run was started."""
        return {path.parent.name: path.read_text().splitlines() for path in self.folder.rglob("log.txt")}

    def results(self) -> int:
        return len(list(self.folder.rglob("result.json")))

    def saved(self) -> int:
        """Return how many runs were given the time to save when they were asked to leave (with ``FAKE_SAVE``)."""
        return len(list(self.folder.rglob("saved")))

    def at_work(self, count: int) -> None:
        """Wait until runs have been started so many times."""
        self.cluster.wait(lambda: sum(map(len, self.logs().values())) >= count, f"{count} runs at work")


def sweep(flags: list[str], folder: Path, out: Path, environment: dict[str, str]) -> None:
    """Run a sweep in this process, a child of the tests', and leave with its exit code."""
    for name in ("DATA", "OUTPUT", "CFG", "SHOTS", "SEEDS", "OPTS", "LOADEP", "CUDA_VISIBLE_DEVICES"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    os.chdir(folder)
    sys.stdout = sys.stderr = open(out, "w", buffering=1)
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    code = main(flags)
    sys.stdout.flush()
    os._exit(code)


@contextlib.contextmanager
def ended_sweeps(cluster, folder: Path):
    """Yield a ``Sweeps``, and end what is left of its sweeps."""
    made = Sweeps(cluster, folder)
    try:
        yield made
    finally:
        for process in made.begun:
            process.kill()
            process.join()


@pytest.fixture
def sweeps(cluster, tmp_path):
    with ended_sweeps(cluster, tmp_path) as made:
        yield made


@pytest.fixture
def sweeps_with_accounting(tmp_path):
    lacking = [*slurm_cluster.missing(), *slurm_accounting.missing()]
    if lacking:
        pytest.skip(f"SLURM's accounting is not installed here ({', '.join(lacking)}): apt-get install slurm-wlm "
                    "slurmdbd mariadb-server munge")
    pytest.importorskip("submitit", reason="submitit is not installed (the extra [cluster])")
    cluster = slurm_accounting.AccountingCluster(tmp_path / "cluster")
    with slurm_cluster.started(cluster), ended_sweeps(cluster, tmp_path) as made:
        yield made
