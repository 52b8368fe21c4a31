"""What the benchmarks share: CLIPs with random weights, trainers without data, timing side by side, kept results."""
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # noqa: E402
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from support import plain  # noqa: E402, F401  (the tests' slow twin, for those who import from here)

import trainers  # noqa: E402, F401
from dassl.config import get_cfg_default  # noqa: E402
from dassl.engine import TRAINER_REGISTRY  # noqa: E402
from trainers.clip.openai import OWN_KEYS  # noqa: E402
from trainers.compat.registry import TRAINERS  # noqa: E402

SHAPES = {  # of OpenAI's published models
    "ViT-B/16": (512, CLIPVisionCfg(layers=12, width=768, patch_size=16, image_size=224), 512),
    "ViT-L/14": (768, CLIPVisionCfg(layers=24, width=1024, patch_size=14, image_size=224), 768),
    "RN50": (1024, CLIPVisionCfg(layers=(3, 4, 6, 3), width=64, patch_size=None, image_size=224), 512),
}


def random_clip_file(name, folder):
    """Write a CLIP of a published shape with random weights (float32, OpenAI's names); returns its path."""
    path = Path(folder) / f"{name.replace('/', '-')}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        embed, vision, width = SHAPES[name]
        model = CLIP(embed, vision, CLIPTextCfg(width=width, heads=width // 64, layers=12), quick_gelu=True)
        for key, value in model.named_parameters():
            if "attnpool" in key and key.endswith("proj.weight"):
                torch.nn.init.normal_(value, std=value.shape[1] ** -0.5)
        state = model.state_dict() | {key: torch.tensor(0) for key in OWN_KEYS}  # which say that it is as OpenAI's
        save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


def class_names(n, words=2):
    """Return ``n`` different names of ``words`` one-token words."""
    tokenizer = SimpleTokenizer()
    vocabulary = [w[:-4] for w in tokenizer.encoder if w.endswith("</w>") and w[:-4].isalpha() and w[:-4].isascii()
                  and 4 <= len(w) - 4 <= 8][:400]
    names, i = [], 0
    while len(names) < n:
        names.append(" ".join(vocabulary[(i // len(vocabulary) ** k + k * i) % len(vocabulary)] for k in range(words)))
        i += 1
    return names


def make_trainer(method, weights, names, settings=(), device="cpu", cache=False):
    """Build a registered trainer on random weights for ``names``, without data."""
    cfg = get_cfg_default()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", str(weights), "USE_CUDA", device != "cpu", "TRAINER.NAME", method,
                         "TRAINER.PROMPTREG.CACHE", cache, "OPTIM.NAME", "sgd", "OPTIM.MAX_EPOCH", 20])
    for section in ("COOP", "COCOOP", "IVLP", "VPT", "PROMPTSRC", "MAPLE", "TCP", "MMADAPTER", "PROMETAR"):
        cfg.TRAINER[section].PREC = "fp32"
    cfg.merge_from_list(list(settings))

    class Bench(TRAINER_REGISTRY.get(TRAINERS.find(method))):
        def build_data_loader(self):
            self.train_loader_x = self.val_loader = self.test_loader = None
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=names))
            self.lab2cname, self.num_classes = dict(enumerate(names)), len(names)

    return Bench(cfg)


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(step):
    """Return the seconds one call takes."""
    synchronize()
    begin = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - begin


def side_by_side(steps, rounds, warm=1):
    """Time several steps in turns, so that what else the machine does hits all alike.

    Args:
        steps: {name: function}.
        rounds: how many turns are counted, after ``warm`` that are not.

    Returns:
        {name: {"median": s, "low": s, "high": s}}.
    """
    for _ in range(warm):
        for step in steps.values():
            step()
    taken = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(seconds(step))
    return {name: {"median": statistics.median(t), "low": min(t), "high": max(t)} for name, t in taken.items()}


def matrix_product(repeat=20, rows=788, inner=768, columns=3072):
    """Return (function, its floating point operations): ``repeat`` products of the ViT-B/16 MLP's shape at batch 4."""
    x, w = torch.randn(rows, inner), torch.randn(columns, inner)
    return lambda: [torch.nn.functional.linear(x, w) for _ in range(repeat)], 2 * repeat * rows * inner * columns


def peak_mib():
    """Return this process's peak memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine():
    """Return what a figure depends on: processor, cores, versions, commit."""
    cpu = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
               platform.processor()) if Path("/proc/cpuinfo").exists() else platform.processor()
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {"cpu": cpu, "threads": torch.get_num_threads(), "python": platform.python_version(),
            "torch": torch.__version__, "commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d"),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def keep(name, results):
    """Write results to benchmarks/results/NAME.json, with the machine."""
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
    print(f"kept in {path.relative_to(ROOT)}")
