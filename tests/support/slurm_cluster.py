"""A SLURM cluster on this machine: munged, slurmctld and some slurmd, each a "node", in a folder of its own."""
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PATIENCE = 240  # seconds: of a busy machine
SBIN = "/usr/sbin"  # where Debian has the daemons
CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=1
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=20
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=one Nodes=n1 MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=OFF
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
{more}
"""


def missing() -> list[str]:
    """Return what there is not to start a cluster with."""
    path = f"{os.environ['PATH']}{os.pathsep}{SBIN}"
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    return lacking if os.getuid() == 0 else [*lacking, "the root user"]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Cluster:
    """Nodes n1, n2, … with ``cpus`` each; ``SLURM_CONF`` must name ``conf`` where its programs are called."""

    def __init__(self, folder: Path, nodes: int = 2, cpus: int = 2, more: str = "") -> None:
        self.folder, self.conf = folder, folder / "slurm.conf"
        self.nodes = [f"n{number + 1}" for number in range(nodes)]
        self.processes: dict[str, subprocess.Popen] = {}
        folder.mkdir(parents=True)
        (folder / "state").mkdir()
        first, *ports = free_ports(nodes + 1)
        host = socket.gethostname()
        lines = [f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=64000 "
                 "State=UNKNOWN" for name, port in zip(self.nodes, ports, strict=True)]
        self.conf.write_text(CONF.format(folder=folder, host=host, port=first, nodes="\n".join(lines), more=more))
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": f"{os.environ['PATH']}:{SBIN}"}

    def start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.run_daemon("munged", "--foreground", "--force", f"--key-file={key}",
                        f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
                        f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munged.seed")
        self.wait(lambda: (self.folder / "munge.socket").exists(), "munged's socket")
        self.start_accounting()
        self.run_daemon("slurmctld", "-D", "-i")
        for node in self.nodes:
            self.start_node(node)
        self.wait_for_nodes()

    def start_accounting(self) -> None:
        """Start what keeps accounts: nothing does, as on many clusters."""

    def wait_for_nodes(self) -> None:
        def idle() -> bool:
            lines = set(self.ask("sinfo", "-h", "-N", "-o", "%N %T").splitlines())
            return lines == {f"{node} idle" for node in self.nodes}
        self.wait(idle, "idle nodes")

    def start_node(self, node: str) -> None:
        self.run_daemon("slurmd", "-D", "-N", node, name=node)

    def run_daemon(self, program: str, *flags: str, name: str = "") -> None:
        with open(self.folder / f"{name or program}.out", "ab") as out:
            self.processes[name or program] = subprocess.Popen(
                [program, *flags], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=self.environment)

    def kill(self, name: str) -> None:
        """End a daemon as ``kill -9`` does."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def end(self, name: str) -> None:
        """End a daemon as its service's stop does: a controller saves what it knows of jobs, else up to 5 s late."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End all jobs, then all daemons."""
        for node in self.nodes:  # its jobs could not be ended otherwise
            if node not in self.processes:
                self.start_node(node)
        self.ask("scancel", "--user=root")
        with suppress(AssertionError):
            self.wait(lambda: not self.ask("squeue", "-h"), "an empty queue", 40)
        for name in reversed(list(self.processes)):
            self.end(name)

    def ask(self, *words: str) -> str:
        """Return what one of SLURM's programs prints; nothing where it fails."""
        return subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=60).stdout

    def call(self, *words: str) -> str:
        """Return what one of SLURM's programs prints; fails where it does."""
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=120)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return {job id, or that of an array's element: state} of what has not ended."""
        lines = self.ask("squeue", "-h", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    @staticmethod
    def at_work_on_nodes(job_id: str) -> bool:
        """Return whether a node still has a process of SLURM's own for a job, whatever the controller thinks."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if path.read_bytes().startswith(f"slurmstepd: [{job_id}.".encode()):
                    return True
        return False

    def restart(self, job_id: str, seconds: float = PATIENCE) -> None:
        """Spare a job that was put back into the queue SLURM's two minutes before it may start."""
        self.wait(lambda: "BeginTime" in self.ask("squeue", "-h", f"--jobs={job_id}", "--format=%r"),
                  f"{job_id} in the queue again", seconds)
        self.call("scontrol", "update", f"JobId={job_id}", "StartTime=now")

    def wait(self, condition, what: str, seconds: float = PATIENCE) -> None:
        """Wait until a condition is true; fails where it does not become so."""
        deadline = time.time() + seconds
        while not condition():
            assert time.time() < deadline, f"no {what} after {seconds} s; {self.ask('squeue', '--array')}"
            time.sleep(0.1)


@contextmanager
def started(cluster: Cluster) -> Iterator[Cluster]:
    """Yield a cluster that is at work, and end all of it."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
