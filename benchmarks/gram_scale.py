"""What GRAM's stages cost per 10,000 pairs, in CPU seconds: decoding, encoding and episodes, for two shapes of CLIP.

    python benchmarks/gram_scale.py [--pairs 64] [--threads 1] [--out NAME]

ViT-B/16 has random weights here (the cost does not depend on them); clustering is measured by gram_clustering.py.
An episode has 3 inner steps, 20 support images and twice 20 query images. What is kept:
benchmarks/results/gram_scale.json.
"""
import argparse
import io
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
KEPT = ("decode_s", "image_features_s", "caption_features_s", "unigram_s", "unigram_first_order_s", "coop_s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default="gram_scale", help="name of the file of results; empty for none")
    args = parser.parse_args()
    import numpy as np
    import open_clip
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torchvision import transforms as T

    import trainers  # noqa: F401
    from dassl.config import get_cfg_default
    from trainers.clip import FrozenCLIP, load_clip
    from trainers.clip.fused import twice_differentiable
    from trainers.meta import features
    from trainers.meta.bilevel import meta_gradients
    from trainers.meta.learner import Learner
    from trainers.regulate.regulator import Regulator
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    photo = io.BytesIO()
    noise = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).resize((341, 256), Image.BICUBIC)
    noise.save(photo, "JPEG")  # about the size img2dataset stores

    def clock(work, times):
        if times > 1:
            work()  # warm up
        begin = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - begin) / times

    print(f"{args.threads} threads; CPU seconds\n")
    print("| CLIP | decode | image features | caption features | together, for 10,000 pairs | "
          "episode, unigram, 2nd order | 1st order | episode, coop, 2nd order | peak memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = {}
    for name, size, episodes in (("demo", 32, 3), ("ViT-B-16", 224, 1)):
        clip = load_clip("demo") if name == "demo" else FrozenCLIP(open_clip.create_model(name, pretrained=None))
        transform = T.Compose([T.Resize(size), T.CenterCrop(size), T.ToTensor()])
        n = args.pairs if name == "demo" else min(args.pairs, 8)

        def decode():
            photo.seek(0)
            return transform(Image.open(photo).convert("RGB"))

        images = torch.randn(n, 3, size, size)
        texts = ["a photo of a red circle to the left of a large blue square" for _ in range(n)]
        parts = [clock(decode, 20), clock(lambda: features.encode_images(clip, images), 2) / n,
                 clock(lambda: features.encode_captions(clip, texts), 2) / n]
        cfg = get_cfg_default()
        deep = 6 if name == "demo" else 9
        cfg.merge_from_list(["TRAINER.IVLP.N_CTX_TEXT", 4, "TRAINER.IVLP.N_CTX_VISION", 4,
                             "TRAINER.IVLP.PROMPT_DEPTH_TEXT", deep, "TRAINER.IVLP.PROMPT_DEPTH_VISION", deep,
                             "TRAINER.COOP.N_CTX", 4])
        costs = []
        for kind, order in (("unigram", 2), ("unigram", 1), ("coop", 2)):
            learner = Learner(kind, cfg, clip)
            start = {k: p.requires_grad_() for k, p in learner.start().items()}
            regulator = Regulator({k: p.shape for k, p in start.items()}, 32, seed=1)
            names = ["red circle", "blue star", "seven", "checkered", "letter a"]
            part = SimpleNamespace(labels=torch.arange(20) % 5,
                                   inputs=torch.randn(20, 3, size, size) if kind == "unigram"
                                   else F.normalize(torch.randn(20, clip.embed_dim), dim=-1))
            logits = learner.on(names)

            def loss(prompts, logits=logits, part=part):
                return F.cross_entropy(logits(prompts, part.inputs), part.labels)

            def episode(loss=loss, start=start, regulator=regulator, order=order):
                with twice_differentiable():
                    meta_gradients(loss, [(1.0, loss), (1.0, loss)], start, dict.fromkeys(start, 0.01), regulator, 3,
                                   order, [*start.values(), *regulator.parameters()])
            costs.append(clock(episode, episodes))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {name} | " + " | ".join(f"{1e4 * p:.0f} s" for p in parts) + f" | {1e4 * sum(parts):.0f} s | "
              + " | ".join(f"{c:.2f} s" for c in costs) + f" | {peak:.0f} MiB |", flush=True)
        found[name] = {**dict(zip(KEPT, parts + costs, strict=True)), "peak_mib": peak}
    if args.out:
        from common import keep
        keep(args.out, found)


if __name__ == "__main__":
    main()
