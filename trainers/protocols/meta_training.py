"""GRAM's meta-training as a script: its runs, under torchrun where there are several GPUs or cores."""
import os
import re
import subprocess
from pathlib import Path

from ..errors import InputError
from .call import Call


def meta_train(call: Call, corpus: str, prompts: str) -> None:
    """Learn a start and a regulating function from a corpus, once for each of SEEDS; PROCESSES says how many work.

    Raises:
        InputError: PROCESSES is no number.
    """
    name = Path(corpus).name
    name = name.rpartition(".")[0] if "." in name else name
    cfg = call.get("CFG", "demo" if corpus == "demo" else "vit_b16")
    gpus, cores = count_gpus(), os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # those that this process may use
        cores = len(os.sched_getaffinity(0))
    processes = call.get("PROCESSES", str(gpus or min(cores, 2)))
    if not re.fullmatch(r"[1-9][0-9]*", processes):
        raise InputError(f"PROCESSES='{processes}': give a whole number from 1")
    launch = [call.python]
    if int(processes) > 1 and not call.flags:  # one prints the config
        launch += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes]
        if not gpus:
            call.environment["OMP_NUM_THREADS"] = call.get("OMP_NUM_THREADS", str(max(1, cores // int(processes))))
    for seed in call.seeds:
        call.commands.append([
            *launch, *call.train, *call.flags, "--trainer", "GRAM", "--root", call.get("DATA", "data"), "--seed", seed,
            "--config-file", str(call.root / "configs" / "trainers" / "GRAM" / f"{cfg}.yaml"),
            "--output-dir", f"{call.output}/gram/{name}/{prompts}/{cfg}/seed{seed}",
            "TRAINER.GRAM.CORPUS", corpus, "TRAINER.GRAM.PROMPTS", prompts, *call.options])


def count_gpus() -> int:
    """Return how many GPUs the driver's own program lists; 0 where there is none."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return 0
    return sum(line.startswith("GPU") for line in listed.splitlines())
