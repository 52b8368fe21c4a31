"""Processes that SLURM's srun has started together: they are given the variables that torchrun would have set."""
import os
import re
import subprocess
from collections.abc import Mapping

from ..errors import SetupError

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
NEEDED = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST", "SLURM_JOB_ID",
          "SLURM_STEP_ID")
FIRST_PORT, PORTS = 12000, 20000  # below those that Linux hands out


def set_variables() -> None:
    """Set torchrun's variables where srun has started several processes, and nobody else has set them.

    In a batch script outside of srun there is no step, so a single process there stays one, whatever ``--ntasks`` is.

    Raises:
        SetupError: SLURM does not say where the first process is.
    """
    if not any(name in os.environ for name in TORCHRUN):
        os.environ.update(variables(os.environ))


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """Return torchrun's variables by those of srun; none where there is one process, or no srun."""
    if not all(name in given for name in NEEDED) or given["SLURM_STEP_NUM_TASKS"] == "1":
        return {}
    number = 31 * int(given["SLURM_JOB_ID"]) + int(given["SLURM_STEP_ID"])
    return {"RANK": given["SLURM_PROCID"], "LOCAL_RANK": given["SLURM_LOCALID"],
            "WORLD_SIZE": given["SLURM_STEP_NUM_TASKS"],
            "MASTER_ADDR": given.get("MASTER_ADDR") or first_address(given["SLURM_STEP_NODELIST"]),
            "MASTER_PORT": given.get("MASTER_PORT") or str(FIRST_PORT + number % PORTS)}


def first_address(nodes: str) -> str:
    """Return the address of the first of SLURM's nodes, given as ``n[1-2],n7``; its name may be SLURM's own alone."""
    first = _scontrol("show", "hostnames", nodes).split()
    found = re.search(r"\bNodeAddr=(\S+)", _scontrol("show", "node", first[0])) if first else None
    if not found:
        raise SetupError(f"SLURM does not know the nodes {nodes}: set MASTER_ADDR to the first one's address")
    return found[1]


def _scontrol(*words: str) -> str:
    try:
        return subprocess.run(["scontrol", *words], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"scontrol failed ({error}): set MASTER_ADDR to the first node's address") from error
