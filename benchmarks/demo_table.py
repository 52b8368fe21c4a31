"""Every trainer in every precision on the demo, trained on base classes and evaluated on new ones.

python benchmarks/demo_table.py [TRAINER …] [--shots 4] [--seed 1] [--out docs/appendix/demo-table.md]. Rows of
trainers that are not asked for stay as they are. Each cell is what
``python train.py --trainer T … TRAINER.<SECTION>.PREC P`` and then ``--eval-only`` on the new classes print.
"""
import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trainers.training.run import main as train_py  # noqa: E402

TRAINERS = {"ZeroshotCLIP": "ZEROSHOT", "ZeroshotCLIP2": "ZEROSHOT", "CoOp": "COOP", "CoCoOp": "COCOOP", "VPT": "VPT",
            "IVLP": "IVLP", "MaPLe": "MAPLE", "KgCoOp": "COOP", "ProGrad": "COOP", "PromptSRC": "PROMPTSRC",
            "TCP": "TCP", "MultiModalAdapter": "MMADAPTER", "ProMetaR": "PROMETAR", "DePT+CoOp": "COOP"}
PRECISIONS = ("fp32", "fp16", "amp", "bf16")


def run(trainer, precision, output, classes, args, *more):
    """Run train.py in this process; returns the accuracy in percent."""
    folder = "ZeroshotCLIP" if trainer.startswith("Zeroshot") else trainer
    argv = ["--trainer", trainer, "--root", args.data, "--seed", str(args.seed), "--output-dir", str(output),
            "--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"),
            "--config-file", str(ROOT / f"configs/trainers/{folder}/demo.yaml"), *more,
            "DATASET.NUM_SHOTS", str(args.shots), "DATASET.SUBSAMPLE_CLASSES", classes,
            f"TRAINER.{TRAINERS[trainer]}.PREC", precision]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = train_py(argv)
    if code:
        raise SystemExit(f"train.py {' '.join(argv)} left with {code}:\n{said.getvalue()[-2000:]}")
    return json.loads((output / "result.json").read_text())["results"]["test"]["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trainers", nargs="*", default=list(TRAINERS), metavar="TRAINER")
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", default="data")
    parser.add_argument("--out", default=str(ROOT / "docs" / "appendix" / "demo-table.md"))
    args = parser.parse_args()
    head = ["# Every trainer but GRAM's in every precision, on the demo", "",
            f"Digits, {args.shots} shots, seed {args.seed}, CPU: accuracy in percent on the base classes after "
            "training on them, and on the new classes with the same prompts. "
            "Made by `python benchmarks/demo_table.py`.", "",
            "| trainer | " + " | ".join(f"{p} base / new" for p in PRECISIONS) + " | s a cell |",
            "|---|" + "---|" * (len(PRECISIONS) + 1)]
    out = Path(args.out)
    before = out.read_text().splitlines() if out.exists() else []
    rows = {line.split("|")[1].strip(): line for line in before if line.startswith("| ")}
    for trainer in args.trainers:
        cells, begin = [], time.time()
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                base, new = Path(folder) / "base", Path(folder) / "new"
                on_base = run(trainer, precision, base, "base", args, *(["--eval-only"] if "Zero" in trainer else []))
                epoch = max([int(p.name.rpartition("-")[2]) for p in base.rglob("model.pth.tar-*")], default=0)
                on_new = run(trainer, precision, new, "new", args, "--eval-only", "--model-dir", str(base),
                             "--load-epoch", str(epoch))
                cells.append(f"{on_base:.1f} / {on_new:.1f}")
        rows[trainer] = f"| {trainer} | " + " | ".join(cells) + f" | {(time.time() - begin) / len(PRECISIONS):.0f} |"
        print(rows[trainer], flush=True)
        out.write_text("\n".join(head + [rows[name] for name in TRAINERS if name in rows]) + "\n")


if __name__ == "__main__":
    main()
