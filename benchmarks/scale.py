"""What a sweep itself costs by the number of its jobs, and how many GPU hours a full study takes by predicted steps.

    python benchmarks/scale.py [--jobs 10 100 1000 10000] [--out NAME]

Each number of jobs is measured in a process of its own: seconds of processor time, and memory, to plan them, to look
at all of them once (poll), to compare finished results with their commands (check, a second call's), to collect the
results and to make the tables. Results are written as a run writes them, of a dataset with 100 classes. GPU hours
follow from the step times in results/launches.json, which are predicted, not measured. Kept: results/scale.json.
"""
import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]
METHODS, SHOTS = ("CoOp", "PromptSRC"), (1, 2, 4, 8, 16)
# Classes of the eleven datasets, as published, which with the shots make the training images.
CLASSES = {"imagenet": 1000, "caltech101": 100, "oxford_pets": 37, "stanford_cars": 196, "oxford_flowers": 102,
           "food101": 101, "fgvc_aircraft": 100, "sun397": 397, "dtd": 47, "eurosat": 10, "ucf101": 101}
# The method whose counted step stands for another that launches.py does not count.
STANDS_FOR = {"GRAMCoCoOp": "CoCoOp", "GRAMVPT": "VPT"}


def memory() -> dict[str, float]:
    """Return this process's memory in MiB: resident, and the part of it that is its own, without files' pages."""
    status = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M))
    return {"peak_mib": round(int(status["VmHWM"]) / 1024, 1), "own_mib": round(int(status["RssAnon"]) / 1024, 1)}


def write_results(jobs: list) -> None:
    """Write a result.json of 100 classes into each job's folder."""
    from trainers.config.build import setup_cfg
    from trainers.config.flags import parser
    from trainers.config.yaml_text import dumped
    from trainers.training.result import FILE
    classes = {f"class number {i}": {"correct": 30, "total": 40} for i in range(100)}
    confusion = {name: {"class number 0": 6, "class number 1": 4} for name in classes}
    figures = {"accuracy": 75.0, "correct": 3000, "total": 4000, "macro_f1": 74.0, "per_class": classes,
               "confusion": confusion}
    results = json.dumps({"test": figures}, indent=1)
    texts: dict[tuple, tuple[str, str]] = {}
    for command in itertools.chain(*(step.commands for job in jobs for step in job.steps)):
        words = command[command.index("--root"):]
        args = parser().parse_args(words)
        kind = args.trainer, args.dataset_config_file, tuple(args.opts)
        if kind not in texts:
            cfg = setup_cfg(args)[0]
            texts[kind] = dumped(cfg), cfg.DATASET.NAME
        config, dataset = texts[kind]
        content = {"trainer": args.trainer, "dataset": dataset, "dataset_label": dataset, "identity": {}, "notes": [],
                   "classes": "all", "shots": int(dict(zip(args.opts[::2], args.opts[1::2], strict=True))
                                                  ["DATASET.NUM_SHOTS"]), "seed": args.seed, "processes": 1,
                   "backbone": "ViT-B/16", "seconds": 60.0, "peak_memory_mib": 2000.0, "versions": {},
                   "command": command[1:], "config": config}
        os.makedirs(args.output_dir)
        Path(args.output_dir, FILE).write_text(f'{json.dumps(content, indent=1)[:-2]},\n "results": {results}\n}}')


def measure(count: int) -> dict:
    """Return what ``count`` jobs cost, {what: {"seconds", "peak_mib", "own_mib"}}."""
    from trainers.results.collect import read_runs
    from trainers.results.table import tables
    from trainers.sweep.plan import check_configs, check_finished, plan
    from trainers.sweep.pool import Pool
    from trainers.sweep.state import SweepState
    found = {"imports": {"seconds": round(time.process_time(), 3), **memory()}}

    def timed(what, call):
        begin = time.process_time()
        value = call()
        found[what] = {"seconds": round(time.process_time() - begin, 3), **memory()}
        return value

    datasets = min(10, max(1, count // 10))
    seeds = range(1, count // (10 * datasets) + 1)
    jobs = timed("plan", lambda: plan(METHODS, "few_shot", list(CLASSES)[:datasets], seeds, SHOTS))
    assert len(jobs) == count, len(jobs)
    check_configs(jobs)
    state = SweepState("output")
    timed("poll, none finished", lambda: (Pool(jobs, state, 1), [state.failure(job) for job in jobs]))
    write_results(jobs)
    timed("poll, all finished", lambda: (Pool(jobs, state, 1), [state.failure(job) for job in jobs]))
    timed("check", lambda: check_finished(jobs))
    folders = [(folder, "output") for job in jobs for step in job.steps for folder in step.folders]
    runs = timed("collect", lambda: read_runs(folders))
    assert len(runs) == count
    timed("tables", lambda: tables(runs))
    return found


def protocols(method: str) -> list[dict]:
    """Return what a method's few-shot script trains, of each dataset and shots: steps, batch, epochs, backbone."""
    from trainers.config.build import setup_cfg
    from trainers.config.flags import parser
    from trainers.sweep.plan import plan
    found = []
    for dataset, classes in CLASSES.items():
        for job, k in zip(plan([method], "few_shot", [dataset], [1], SHOTS), SHOTS, strict=True):
            command = job.steps[0].commands[0]
            cfg = setup_cfg(parser().parse_args(command[command.index("--root"):]))[0]
            batch, epochs = cfg.DATALOADER.TRAIN_X.BATCH_SIZE, cfg.OPTIM.MAX_EPOCH
            found.append({"dataset": dataset, "batch": batch, "epochs": epochs, "backbone": cfg.MODEL.BACKBONE.NAME,
                          "steps": epochs * max(1, k * classes // batch)})
    return found


def gpu_hours(seeds: int = 3) -> dict:
    """Return the training hours on one GPU, on eleven datasets with five shots and ``seeds`` seeds.

    Of all methods that launches.py has counted. A step is its step of 1,000 classes, in fp16 on a fast and a slow host,
    where the dataset may have far fewer: an upper bound by the prediction.
    """
    from trainers.sweep.methods import METHODS as ALL
    counted = json.loads((HERE / "results" / "launches.json").read_text())["steps"]
    rows = {}
    for method in (name for name in ALL if ALL[name].train):
        parts = protocols(method)
        batches, (backbone,) = {part["batch"] for part in parts}, {part["backbone"] for part in parts}
        source = f"{STANDS_FOR.get(method, method)} fp16, 1000 classes, {backbone}"
        if source not in counted:
            continue
        step, steps = counted[source]["after"]["step_ms"], seeds * sum(part["steps"] for part in parts)
        epochs = {where: [part["epochs"] for part in parts if (part["dataset"] == "imagenet") == (where == "imagenet")]
                  for where in ("imagenet", "others")}
        rows[method] = {"backbone": backbone, "batch": sorted(batches), "runs": seeds * len(parts), "steps": steps,
                        "epochs": {where: [min(found), max(found)] for where, found in epochs.items()},
                        "step_ms": step, "step_of": source, "hours": [round(ms * steps / 3.6e6, 1) for ms in step]}
    total = [round(sum(row["step_ms"][i] * row["steps"] for row in rows.values()) / 3.6e6, 1) for i in (0, 1)]
    return {"measured on a GPU": False, "methods": rows, "runs": sum(row["runs"] for row in rows.values()),
            "steps": sum(row["steps"] for row in rows.values()), "hours (fast host, slow host)": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", nargs="*", type=int, default=[10, 100, 1000, 10000], help="none: GPU hours alone")
    parser.add_argument("--out", default="scale", help="name of the file of results; empty for none")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    found = {}
    for count in args.jobs:
        with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as folder:
            done = subprocess.run([sys.executable, __file__, "--one", str(count)], cwd=folder, capture_output=True,
                                  text=True, env={**os.environ, "OUTPUT": "output", "DATA": "data"})
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found[count] = json.loads(done.stdout.splitlines()[-1])
        print(f"{count:6} jobs: " + "; ".join(f"{what} {row['seconds']:.2f} s, {row['own_mib']:.0f} MiB"
                                              for what, row in found[count].items()), flush=True)
    hours = gpu_hours()
    for method, row in hours["methods"].items():
        print(f"{method:14} batch {row['batch'][0]:3}  {row['steps']:9,} steps  {row['hours'][0]:6.1f} to "
              f"{row['hours'][1]:6.1f} hours (predicted)")
    print(f"all: {hours['runs']:,} runs, {hours['steps']:,} steps, {hours['hours (fast host, slow host)']} hours")
    if args.out:
        from common import keep
        file = HERE / "results" / f"{args.out}.json"
        before = json.loads(file.read_text())["jobs"] if file.is_file() else {}  # numbers that were not asked for now
        found = {int(count): row for count, row in before.items()} | found
        keep(args.out, {"jobs": dict(sorted(found.items())), "gpu": hours})


if __name__ == "__main__":
    main()
