"""CoOp's command line, unchanged flags: train, or evaluate, one method on one dataset with one seed."""
import argparse

from ..utils.console import Parser

SEVERAL = ("source_domains", "target_domains", "transforms")  # flags that take one word or more
FLAGS = {"root": "DATASET.ROOT", "output_dir": "OUTPUT_DIR", "resume": "RESUME", "seed": "SEED",
         "source_domains": "DATASET.SOURCE_DOMAINS", "target_domains": "DATASET.TARGET_DOMAINS",
         "transforms": "INPUT.TRANSFORMS", "trainer": "TRAINER.NAME", "backbone": "MODEL.BACKBONE.NAME",
         "head": "MODEL.HEAD.NAME"}


def parser():
    """Return the parser of CoOp's flags and our few."""
    p = Parser(description=__doc__)
    p.add_argument("--root", default="", help="folder of the datasets")
    p.add_argument("--output-dir", default="", help="folder of this run's log, checkpoints and result")
    p.add_argument("--resume", default="", help="folder to resume from, if not the output folder")
    p.add_argument("--seed", type=int, default=None, help="non-negative to fix all random draws")
    p.add_argument("--source-domains", nargs="+", help="source domains, for domain adaptation")
    p.add_argument("--target-domains", nargs="+", help="target domains, for domain adaptation")
    p.add_argument("--transforms", nargs="+", help="training transforms")
    p.add_argument("--config-file", default="", help="the method's config")
    p.add_argument("--dataset-config-file", default="", help="the dataset's config")
    p.add_argument("--trainer", default="", help="name of the method's trainer")
    p.add_argument("--backbone", default="", help="name of CLIP's backbone")
    p.add_argument("--head", default="", help="name of the head (none of these methods has one)")
    p.add_argument("--eval-only", action="store_true", help="evaluate only")
    p.add_argument("--model-dir", default="", help="folder to load prompts from, for --eval-only")
    p.add_argument("--load-epoch", type=int, help="epoch of the prompts to load, for --eval-only")
    p.add_argument("--no-train", action="store_true", help="build everything, train nothing")
    p.add_argument("--no-cache", action="store_true", help="do not keep frozen text features on disk")
    p.add_argument("--print-cfg", action="store_true", help="show the merged config and where each value came from")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    p.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that win over the config files")
    return p
