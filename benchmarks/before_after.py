"""Is this commit as fast as another, on a CPU? The same work by both libraries, in turns, each in a process of its own.

    python benchmarks/before_after.py COMMIT [--cases NAME …] [--rounds 7] [--out NAME]

Both processes stay alive and take one step after the other's, so that what else the machine does hits both; the least
time of the rounds is the one that it hit least, the median is kept beside it. Ours alone: ``run.py`` has the published
way beside it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = Path(os.environ.get("PROMPTREG_TREE", HERE.parent))  # whose library is measured
CASES = {  # name: (what, method, backbone, classes, images)
    "text branch, 100 classes": ("text", "", "ViT-B/16", 100, 0),
    "text branch, 500 classes": ("text", "", "ViT-B/16", 500, 0),
    "text branch, 1,000 classes": ("text", "", "ViT-B/16", 1000, 0),
    "PromptSRC step, 100 classes": ("step", "PromptSRC", "ViT-B/16", 100, 4),
    "PromptSRC step, 500 classes": ("step", "PromptSRC", "ViT-B/16", 500, 4),
    "PromptSRC step, 1,000 classes": ("step", "PromptSRC", "ViT-B/16", 1000, 4),
    "ProGrad step, RN50, 100 classes": ("step", "ProGrad", "RN50", 100, 32),
    "evaluating 50 images, 100 classes": ("evaluate", "PromptSRC", "ViT-B/16", 100, 50)}


def text(file, classes):
    """Return the text branch's forward and backward, depth 9."""
    import torch
    import torch.nn.functional as F
    from common import class_names

    from trainers.clip import load_clip, pack, prompt_tokens
    clip = load_clip(file)
    layout = pack(prompt_tokens(class_names(classes), clip.tokenizer, "a photo of a", 4), clip.text.chunk_tokens())
    prompts = [torch.randn(4, 512).mul_(0.02).requires_grad_() for _ in range(9)]
    target = torch.randn(classes, 512)

    def step():
        features = F.normalize(clip.text(layout, prompts[0], prompts[1:]), dim=-1)
        torch.autograd.grad((features * target).mean(), prompts)
    return step


def serve(what, method, file, classes, images):
    """Do the work once for each line of the input, and print its seconds; at the end the peak memory in MiB."""
    sys.path[:0] = [str(TREE / "benchmarks"), str(TREE), str(TREE / "tests")]
    import torch
    from common import class_names, peak_mib, seconds
    from run import step_of, without_frozen_text
    torch.manual_seed(0)
    if what == "text":
        step = text(file, classes)
    else:
        trainer = without_frozen_text(method, file, class_names(classes))
        batch = torch.randn(images, 3, 224, 224)
        if what == "step":
            step = step_of(trainer, batch, torch.randint(classes, (images,)))
        else:
            trainer.set_model_mode("eval")

            def step():
                trainer.model_inference(batch)
    for _ in sys.stdin:
        print("seconds", seconds(step), flush=True)
    print("peak", peak_mib(), flush=True)


def started(tree, case, file):
    """Start a process that serves a case by the library of ``tree``."""
    what, method, _, classes, images = case
    words = [sys.executable, __file__, "--serve", what, method, str(file), str(classes), str(images)]
    return subprocess.Popen(words, env={**os.environ, "PROMPTREG_TREE": str(tree), "PYTHONPATH": ""}, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def answer(process, word):
    """Return the figure behind ``word``, past what the library prints."""
    for line in process.stdout:
        if line.startswith(word + " "):
            return float(line.split()[1])
    raise SystemExit(f"a process has ended with {process.wait()}: run it alone to see why: {process.args}")


def compare(case, file, trees, rounds):
    """Return {which: {least, median: seconds, peak_mib}} of a case, rounds in turn, of which the first counts not."""
    processes = {which: started(tree, case, file) for which, tree in trees.items()}
    taken = {which: [] for which in trees}
    for _ in range(rounds + 1):
        for which, process in processes.items():
            process.stdin.write("\n")
            process.stdin.flush()
            taken[which].append(answer(process, "seconds"))
    found = {}
    for which, process in processes.items():
        process.stdin.close()
        found[which] = {"least": min(taken[which][1:]), "median": statistics.median(taken[which][1:]),
                        "peak_mib": round(answer(process, "peak"))}
        process.wait()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", nargs="?", metavar="COMMIT")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="before_after", metavar="NAME", help="of the file of results; '' keeps none")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        what, method, file, *numbers = args.serve
        return serve(what, method, file, *map(int, numbers))
    if not args.before:
        parser.error("name the commit to compare with")
    from common import keep, random_clip_file
    found, load = {}, [round(os.getloadavg()[0], 1)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "before")
        git = ["git", "-C", str(HERE.parent), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), args.before], check=True)
        try:
            for name in args.cases:
                file = random_clip_file(CASES[name][2], folder)
                found[name] = each = compare(CASES[name], file, {"before": tree, "after": HERE.parent}, args.rounds)
                print(f"{name:36}" + "   ".join(f"{which} {f['least']:7.3f} s (median {f['median']:7.3f}), peak "
                                                f"{f['peak_mib']:5} MiB" for which, f in each.items())
                      + f"   after / before {each['after']['least'] / each['before']['least']:.2f}", flush=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    if args.out:
        kept = HERE / "results" / f"{args.out}.json"  # --cases renews these alone
        other = json.loads(kept.read_text())["cases"] if kept.is_file() and len(found) < len(CASES) else {}
        keep(args.out, {"before": args.before, "cases": {**other, **{name: {
            **each, "rounds": args.rounds, "load_average": load + [round(os.getloadavg()[0], 1)]}
            for name, each in found.items()}}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
