"""What the study runs: its settings, methods and ablations, as jobs of a sweep."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..sweep.plan import Job, plan

METHODS = ("ZeroshotCLIP", "CoOp", "CoCoOp", "KgCoOp", "ProGrad", "VPT", "IVLP", "MaPLe", "PromptSRC", "TCP",
           "MultiModalAdapter", "ProMetaR", "DePT+CoOp")
# Each starts from a meta-trained file of this name, .safetensors, in the folder of --meta; on base-to-new alone.
GRAM_METHODS = {"GRAMCoOp": "coop", "GRAMCoCoOp": "cocoop", "GRAMVPT": "vpt", "UNIGRAM": "unigram"}
DATASETS = ("emoji_animals", "emoji_food", "emoji_travel", "emoji_activities", "emoji_objects", "emoji_signs")
SOURCE, VARIANTS = "emoji_things", ("emoji_things_flat", "emoji_things_line")
# The config "study" was chosen on emoji_people, which is in no setting.
COMMON = {"CFG": "study", "NCTX": "4"}
# Epochs of few-shot and of the source: fewer or more pictures than base-to-new's. Other methods: their config's.
FEW_SHOT_EPOCHS = {**dict.fromkeys(("CoOp", "KgCoOp", "ProGrad", "TCP", "DePT+CoOp"), 20), "CoCoOp": 1,
                   **dict.fromkeys(("VPT", "IVLP", "MaPLe", "PromptSRC", "ProMetaR"), 4), "MultiModalAdapter": 7}
SOURCE_EPOCHS = {**dict.fromkeys(("CoOp", "KgCoOp", "ProGrad", "TCP", "DePT+CoOp"), 8), "CoCoOp": 1,
                 **dict.fromkeys(("VPT", "IVLP", "MaPLe", "PromptSRC", "ProMetaR"), 2), "MultiModalAdapter": 3}


@dataclass(frozen=True)
class Setting:
    """One setting's share of the study; ``xd`` holds domain generalization too, whose training is the same."""

    name: str
    datasets: tuple[str, ...]
    shots: tuple[int, ...]
    epochs: Mapping[str, int] = field(default_factory=dict)


SETTINGS = (Setting("base2new", DATASETS, (16,)),
            Setting("few_shot", ("emoji_animals", "emoji_food", "emoji_objects"), (1, 4), FEW_SHOT_EPOCHS),
            Setting("xd", (*DATASETS, *VARIANTS), (2,), SOURCE_EPOCHS))
QUICK = (Setting("base2new", DATASETS[:3], (16,)), Setting("few_shot", DATASETS[:1], (1, 4), FEW_SHOT_EPOCHS),
         Setting("xd", (*DATASETS[:2], *VARIANTS), (1,), SOURCE_EPOCHS))


@dataclass(frozen=True)
class Ablation:
    """A row of an ablation: a method with other keys, on base-to-new, in a folder of its own.

    Attributes:
        name: what the row is called in tables and claims.
        folder: below OUT/ablation.
        trainer: one of ``variants`` that runs in the method's place.
    """

    name: str
    folder: str
    method: str
    opts: tuple[str, ...] = ()
    trainer: str = ""


LAST_EPOCH_ALONE = ("TRAINER.PROMPTSRC.GPA_MEAN", "30", "TRAINER.PROMPTSRC.GPA_STD", "1")  # has all of the weight
# PromptSRC's rows as its paper has them, a part more in each: IVLP, these two, PromptSRC.
ABLATIONS = (
    Ablation("IVLP + agreement", "promptsrc_agreement", "PromptSRC", LAST_EPOCH_ALONE, "PromptSRCOneTemplate"),
    Ablation("IVLP + agreement + aggregation", "promptsrc_aggregation", "PromptSRC", (), "PromptSRCOneTemplate"),
    Ablation("ProGrad, lambda 0", "prograd_lambda_0", "ProGrad", ("LOSS.LAMBDA", "0.0")),
    Ablation("ProGrad, lambda 0.5", "prograd_lambda_0.5", "ProGrad", ("LOSS.LAMBDA", "0.5")))


def main_folder(out: str) -> str:
    """Return OUTPUT of the four settings' runs."""
    return str(Path(out) / "runs")


def ablation_folder(out: str, ablation: Ablation) -> str:
    """Return OUTPUT of an ablation's runs."""
    return str(Path(out) / "ablation" / ablation.folder)


def jobs(out: str, root: str, methods: Sequence[str], seeds: Sequence[int], settings: Sequence[Setting],
         ablations: Sequence[Ablation], meta: str = "") -> list[Job]:
    """Return the study's jobs, seed by seed: a study that is cut short has every claim for its first seeds.

    Args:
        meta: folder of GRAM's meta-trained files, for GRAM's methods.

    Raises:
        InputError: as of ``sweep.plan.plan``.
    """
    found: list[Job] = []
    given = {**COMMON, "DATA": root}
    for seed in seeds:
        for setting in settings:
            for method in methods:
                if setting.name == "base2new" or method not in GRAM_METHODS:
                    found += plan([method], setting.name, setting.datasets, [seed], setting.shots,
                                  {**given, **start(method, meta), "OUTPUT": main_folder(out)}, SOURCE,
                                  epochs(setting, method))
        for ablation in ablations:
            found += [renamed(job, ablation) for job in plan(
                [ablation.method], "base2new", settings[0].datasets, [seed], settings[0].shots,
                {**given, "OUTPUT": ablation_folder(out, ablation)}, SOURCE, ablation.opts)]
    return list({job.slug: job for job in found}.values())  # zero-shot CLIP has no seed but in base-to-new


def start(method: str, meta: str) -> dict[str, str]:
    """Return what a GRAM method's scripts are given: the meta-trained file in the folder ``meta``."""
    return {"META": str(Path(meta) / f"{GRAM_METHODS[method]}.safetensors")} if method in GRAM_METHODS else {}


def renamed(job: Job, ablation: Ablation) -> Job:
    """Return a job of an ablation's method under its row's name, with its trainer."""
    for command in (command for step in job.steps for command in step.commands):
        if ablation.trainer:
            command[command.index("--trainer") + 1] = ablation.trainer
    return Job(job.name.replace(ablation.method, ablation.name, 1), ablation.name, job.steps)


def epochs(setting: Setting, method: str) -> list[str]:
    """Return the config keys that a setting changes of a method's config."""
    if method not in setting.epochs:
        return []
    number = setting.epochs[method]
    more = [] if method != "PromptSRC" else [
        "TRAINER.PROMPTSRC.GPA_MEAN", str(max(1, round(0.75 * number))), "TRAINER.PROMPTSRC.GPA_STD", "1"]
    return ["OPTIM.MAX_EPOCH", str(number), *more]
