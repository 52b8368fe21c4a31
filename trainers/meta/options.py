"""The config section TRAINER.GRAM: of meta-training, and of the trainers that start from its file."""
import importlib.util

from yacs.config import CfgNode

from ..config.defaults import declare
from ..config.limits import Limit, Limited, at_least, one_of
from ..errors import InputError

PRECISIONS = Limit("of float32's range: meta-training takes fp32 or bf16, whatever the few-shot runs take",
                   ("fp32", "bf16").__contains__)
declare("GRAM",
        META="",  # the meta-trained file that GRAM<method> starts from; demo: the one that comes along
        CORPUS="demo",  # image-text pairs: demo, a .tsv, a folder, or webdataset shards
        PROMPTS="unigram",  # whose prompts: coop, cocoop, vpt, unigram
        PREC=Limited("fp32", PRECISIONS),  # gradients of gradients are too small for float16
        BAD_LIMIT=0.05,  # share of unusable pairs that is accepted
        DOMAINS=Limited(64, at_least(2)), CLASSES=100,  # k of the two levels of clustering
        SAMPLE=32768,  # pairs that k-means is fitted on
        CLUSTER=Limited("auto", one_of("auto", "sklearn", "faiss")),
        AGREEMENT=Limited(0.3, at_least(0)),  # share of a pseudo-class's pairs whose image must agree
        STOP_WORDS=True,  # names leave out what most of the corpus's domains say
        HELD_OUT=0.25,  # share of the domains that only the final report sees
        WAYS=Limited(5, at_least(2)),  # classes of a task
        SHOTS=Limited(4, at_least(1)), QUERIES=Limited(4, at_least(1)),  # support and query pairs of a class
        FORM=Limited("metric", one_of("metric", "bend")),  # of the regulating function
        RANK=Limited(32, at_least(1)),  # its directions
        GATE=Limited(16, at_least(1)),  # hidden units of the gate, of the form bend
        REGULATE=True,  # False: learn the start alone
        HORIZON=Limited(60, at_least(0)),  # steps of the base method's own tuning, to its end; 0: the short loop
        TUNE_LR=0.0, TUNE_BATCH=Limited(0, at_least(0)),  # of that tuning; 0: as published for the method
        INNER_STEPS=Limited(5, at_least(1)), INNER_LR=0.1,  # of the short loop: plain descent, differentiated twice
        LEARN_LR=False,  # there: learn a step size for each prompt
        FIRST_ORDER=False,  # there
        OTHER_WEIGHT=1.0,  # w, of the query loss of the new classes (of the short loop: of another domain)
        STEPS=40, EPISODES=Limited(8, at_least(1)),  # outer steps; episodes of one, which run side by side
        META_LR=1e-3, REGULATOR_LR=5e-3,  # Adam's, for the start (and step sizes) and for the function
        STRETCH_LR=0.05, COMMON_LR=0.15,  # and, of the form metric, for a and rho, and for the common rho
        SCHEDULE=Limited("linear", one_of("linear", "constant")),  # of both rates; linear: down to 0
        CLIP_NORM=1.0,  # of the outer gradient
        SAVE_EVERY=5,  # outer steps
        EVALUATE=48)  # held-out tasks of the final report


def check(options: CfgNode) -> None:
    """Raise InputError for a value in the section GRAM that meta-training cannot work with."""
    if options.CLUSTER == "faiss" and not importlib.util.find_spec("faiss"):
        raise InputError("TRAINER.GRAM.CLUSTER is 'faiss', which is not installed: pip install faiss-cpu, or take "
                         "sklearn")
