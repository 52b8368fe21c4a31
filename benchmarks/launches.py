"""What a training step asks of a GPU, counted without one: kernel launches, views, synchronizations, predicted time.

    python benchmarks/launches.py [--before REVISION] [--methods NAME …] [--out NAME]

Each method takes two steps at full size on the pretended device of tests/support/pretend_cuda.py (shapes, no numbers);
the second is counted. ``--before`` counts the same on another commit of this repository. Nothing here was measured on a
GPU: launches follow from what operators are known to start, times from the constants below.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = Path(os.environ.get("PROMPTREG_TREE", HERE.parent))  # whose library is counted
sys.path[:0] = [str(HERE), str(TREE), str(HERE.parent / "tests")]

METHODS = ("CoOp", "CoCoOp", "ProGrad", "KgCoOp", "VPT", "IVLP", "MaPLe", "PromptSRC", "UNIGRAM", "GRAMCoOp",
           "GRAMProGrad", "GRAMPromptSRC")
CASES = [*((method, precision, 1000, "ViT-B/16") for method in METHODS for precision in ("fp16", "amp")),
         ("PromptSRC", "bf16", 1000, "ViT-B/16"), ("PromptSRC", "fp32", 1000, "ViT-B/16"),
         ("PromptSRC", "fp16", 100, "ViT-B/16"), ("PromptSRC", "fp16", 1000, "ViT-L/14"),
         ("CoOp", "fp16", 1000, "RN50"), ("ProGrad", "fp16", 1000, "RN50")]
HOST_US = {"launch": (3.5, 8.0), "view": (0.7, 2.0)}  # what PyTorch's host side takes, on a fast and a slow machine
TRITON_US = (10.0, 25.0)  # for a kernel that Python starts
TRITON = ("norm", "norm_backward", "quick_gelu", "quick_gelu_backward")
REPLAY_US = 1.5  # a kernel of a CUDA graph, at least
FLOPS = {"fp32": 45e12, "fp16": 400e12, "bf16": 400e12, "amp": 400e12}  # a second, in products of this size: an H100
BYTES = 2.3e12  # a second: 70% of an H100's, where nothing is found in a cache
IMAGENET = 20 * 16000 / 4  # steps of PromptSRC's 20 epochs on 16 shots


def count(method, precision, classes, backbone):
    """Return {what: figure} of one step."""
    from support.counted import second_step
    gpu = second_step(method, precision, classes, backbone)
    launches = [e for e in gpu.events if e.kind == "launch"]
    triton = sum(e.what in TRITON for e in launches)
    host = [((gpu.count("launch") - triton) * HOST_US["launch"][i] + triton * TRITON_US[i]
             + gpu.count("view") * HOST_US["view"][i]) / 1e3 for i in (0, 1)]
    busy = [max(e.flops / FLOPS[precision], e.size / BYTES) * 1e3 for e in launches]
    replay = sum(max(ms, e.launches * REPLAY_US / 1e3) for ms, e in zip(busy, launches, strict=True))
    return {"launches": gpu.count("launch"), "views": gpu.count("view"), "synchronizations": gpu.count("sync"),
            "float64": gpu.count("double"), "step_ms": [round(max(ms, replay), 1) for ms in host],
            "step_in_graph_ms": round(replay, 1), "device_ms": round(sum(busy), 1)}


def counted(case, tree=None):
    """Count in a process of its own, with the library of another tree if one is given."""
    command = [sys.executable, __file__, "--one", *map(str, case)]
    more = {} if tree is None else {"PROMPTREG_TREE": str(tree)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more})
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, case))} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(cases, revision):
    """Return {case: {"before": figures or None, "after": figures}}; prints a line each."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "before" if revision else None
        if tree:
            subprocess.run(["git", "-C", HERE.parent, "worktree", "add", "--detach", tree, revision], check=True,
                           capture_output=True)
        try:
            for case in cases:
                name = "{} {}, {} classes, {}".format(*case)
                before, after = counted(case, tree) if tree else None, counted(case)
                found[name] = {"before": before, "after": after}
                print(f"{name:46}" + "   ".join(
                    f"{each['launches']:5} launches {each['synchronizations']:2} syncs {each['step_ms'][0]:5.1f} to "
                    f"{each['step_ms'][1]:5.1f} ms" for each in (before, after) if each)
                    + f"   in a graph {after['step_in_graph_ms']:.1f} ms", flush=True)
        finally:
            if tree:
                subprocess.run(["git", "-C", HERE.parent, "worktree", "remove", "--force", tree], check=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", default="", metavar="REVISION", help="count this commit's library, too")
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="NAME", help="these alone")
    parser.add_argument("--out", default="launches", metavar="NAME", help="of the file of results; '' keeps none")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        method, precision, classes, backbone = args.one
        print(json.dumps(count(method, precision, int(classes), backbone)))
        return
    cases = [case for case in CASES if not args.methods or case[0] in args.methods]
    found = compare(cases, args.before)
    if args.out:
        from common import keep
        ours = found.get("PromptSRC fp16, 1000 classes, ViT-B/16")
        minutes = ours and {when: [round(ms * IMAGENET / 6e4, 1) for ms in (*each["step_ms"], each["step_in_graph_ms"])]
                            for when, each in ours.items() if each}
        keep(args.out, {"measured on a GPU": False, "before": args.before, "assumed": {
            "host_us": HOST_US, "triton_us": TRITON_US, "replay_us": REPLAY_US, "flops": FLOPS, "bytes": BYTES},
            "predicted minutes of ImageNet, 20 epochs (fast host, slow host, graph)": minutes, "steps": found})


if __name__ == "__main__":
    main()
