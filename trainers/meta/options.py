"""The config section TRAINER.GRAM: of meta-training, and of the trainers that start from its file."""
import importlib.util

from yacs.config import CfgNode

from ..config.defaults import declare
from ..errors import InputError

declare("GRAM",
        META="",  # the meta-trained file that GRAM<method> starts from; demo: the one that comes along
        CORPUS="demo",  # image-text pairs: demo, a .tsv, a folder, or webdataset shards
        PROMPTS="unigram",  # whose prompts: coop, cocoop, vpt, unigram
        PREC="fp32",  # fp32 or bf16: gradients of gradients are too small for float16
        BAD_LIMIT=0.05,  # share of unusable pairs that is accepted
        DOMAINS=64, CLASSES=100,  # k of the two levels of clustering
        SAMPLE=32768,  # pairs that k-means is fitted on
        CLUSTER="auto",  # auto, sklearn, faiss
        HELD_OUT=0.25,  # share of the domains that only the final report sees
        WAYS=5, SHOTS=4, QUERIES=4,  # classes of a task; support and query pairs of a class
        RANK=32, GATE=16,  # of the regulating function: the bend's rank, the gate's hidden units
        REGULATE=True,  # False: learn the start alone
        INNER_STEPS=5, INNER_LR=0.1,
        LEARN_LR=False,  # learn a step size for each prompt
        FIRST_ORDER=False,
        OTHER_WEIGHT=1.0,  # w, of the other domain's query loss
        STEPS=2000, EPISODES=4,  # outer steps; episodes of one
        META_LR=1e-3, REGULATOR_LR=1e-3,  # Adam's, for the start (and step sizes) and for the function
        SCHEDULE="linear",  # of both rates: linear (down to 0) or constant
        CLIP_NORM=1.0,  # of the outer gradient
        SAVE_EVERY=50,  # outer steps
        EVALUATE=100)  # held-out episodes of the final report
LEAST = {"WAYS": 2, "SHOTS": 1, "QUERIES": 1, "INNER_STEPS": 1, "EPISODES": 1, "DOMAINS": 2, "RANK": 1, "GATE": 1}
ACCEPTED = {"SCHEDULE": ("linear", "constant"), "CLUSTER": ("auto", "sklearn", "faiss")}


def check(options: CfgNode) -> None:
    """Raise InputError for a value in the section GRAM that meta-training cannot work with."""
    if options.PREC not in ("fp32", "bf16"):
        raise InputError(f"TRAINER.GRAM.PREC is {options.PREC!r}: meta-training takes fp32 or bf16, whatever the "
                         "few-shot runs take")
    for key, least in LEAST.items():
        if options[key] < least:
            raise InputError(f"TRAINER.GRAM.{key} is {options[key]}: it must be at least {least}")
    for key, accepted in ACCEPTED.items():
        if options[key] not in accepted:
            raise InputError(f"TRAINER.GRAM.{key} is {options[key]!r}: it must be one of {', '.join(accepted)}")
    if options.CLUSTER == "faiss" and not importlib.util.find_spec("faiss"):
        raise InputError("TRAINER.GRAM.CLUSTER is 'faiss', which is not installed: pip install faiss-cpu, or take "
                         "sklearn")
