"""All scripts by name, and the train.py commands that a call of one makes."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from . import table
from .call import Call
from .meta_training import meta_train
from .table import PLAIN, SETTINGS, SRC, SRC_FEW_SHOT, Script

MAPLE_XD = PLAIN["maple"][3]


def zero_shot_base2new(call: Call, dataset: str, seed: str) -> None:
    """Zero-shot CLIP on base and new classes, in the folders of the methods that it is compared with."""
    trainer, cfg = call.get("TRAINER", "ZeroshotCLIP"), call.get("CFG", "vit_b16")
    for classes in ("base", "new"):
        folder = call.base2new_folder(f"test_{classes}", trainer, cfg, call.shots, dataset, seed)
        call.run(trainer, cfg, dataset, seed, folder, "--eval-only", "DATASET.NUM_SHOTS", call.shots,
                 "DATASET.SUBSAMPLE_CLASSES", classes, configs="ZeroshotCLIP")


def zero_shot(call: Call, dataset: str, cfg: str = "") -> None:
    """Zero-shot CLIP on all classes; nothing is drawn at random, so there is no seed."""
    trainer, cfg = call.get("TRAINER", "ZeroshotCLIP"), cfg or call.get("CFG", "vit_b16")
    call.run(trainer, cfg, dataset, call.get("SEED", "1"), f"{call.output}/{trainer}/{cfg}/{dataset}", "--eval-only",
             configs="ZeroshotCLIP")


def reproduce_base2new(folder: str) -> Script:
    """Evaluate published prompts, WEIGHTS/base/seedSEED, on base and new classes."""
    trainer, cfg, *_ = PLAIN[folder]

    def make(call: Call, dataset: str, seed: str, weights: str) -> None:
        for classes in ("base", "new"):
            call.evaluate_classes(classes, f"{weights}/base/seed{seed}", trainer, call.get("CFG", cfg), call.shots,
                                  dataset, seed)
    return Script("DATASET SEED WEIGHTS", make, (3,))


def reproduce_xd(trainer: str, cfg: str) -> Script:
    """Evaluate published prompts of ImageNet, WEIGHTS/seedSEED, on another dataset."""
    def make(call: Call, dataset: str, seed: str, weights: str) -> None:
        chosen = call.get("CFG", cfg)
        call.run(trainer, chosen, dataset, seed,
                 f"{call.output}/evaluation/{trainer}/{chosen}_{call.shots}shots/{dataset}/seed{seed}",
                 "--model-dir", f"{weights}/seed{seed}", "--load-epoch", call.last_epoch(trainer, chosen),
                 "--eval-only", "DATASET.NUM_SHOTS", call.shots)
    return Script("DATASET SEED WEIGHTS", make, (3,))


def reproduce_few_shot(call: Call, dataset: str, shots: str, weights: str) -> None:
    """Evaluate PromptSRC's published few-shot prompts, WEIGHTS/SHOTSshot/seedSEED, for each of SEEDS."""
    cfg = call.get("CFG", SRC_FEW_SHOT)
    for seed in call.seeds:
        call.run("PromptSRC", cfg, dataset, seed,
                 f"{call.output}/few_shot/{dataset}/PromptSRC/{cfg}_{shots}shots/seed{seed}",
                 "--model-dir", f"{weights}/{shots}shot/seed{seed}", "--load-epoch", call.last_epoch("PromptSRC", cfg),
                 "--eval-only", "DATASET.NUM_SHOTS", shots)


def _all_scripts() -> dict[str, Script]:
    prograd = table.coop_scripts("ProGrad", "4", "few_shot", table.prograd_lambda)
    folders: dict[str, dict[str, Script]] = {
        folder: {setting + (suffix if setting != "few_shot" else ""): table.plain_script(folder, setting)
                 for setting in SETTINGS} for folder, (*_, suffix) in PLAIN.items()}
    folders["coop"] = table.coop_scripts("CoOp", "16", "main", table.nothing)
    folders["prograd"] = {**prograd, "prograd": prograd["few_shot"]}  # its published name
    folders["kgcoop"] |= {part: table.kgcoop_base2new(part) for part in ("base2new_train", "base2new_test")}
    folders["gram"] = {setting: table.gram_script(setting) for setting in SETTINGS}
    folders["gram"]["meta_train"] = Script("CORPUS PROMPTS", meta_train, (2,))
    for folder, script in (("tcp", table.tcp_script), ("mma", table.mma_script), ("prometar", table.prometar_script)):
        folders[folder] = {setting: script(setting) for setting in SETTINGS}
    folders["any"] = {setting: table.any_script(setting) for setting in SETTINGS}
    folders["zsclip"] = {"base2new_test": Script("DATASET SEED", zero_shot_base2new, (2,)),
                         "zeroshot": Script("DATASET [CFG]", zero_shot, (1, 2))}
    folders["dept"] = {setting: table.dept_script(setting) for setting in SETTINGS}
    folders["promptsrc"] |= {"reproduce_base2novel_setting": reproduce_base2new("promptsrc"),
                             "reproduce_xd": reproduce_xd("PromptSRC", f"{SRC}_cross_datasets"),
                             "reproduce_few_shot": Script("DATASET SHOTS WEIGHTS", reproduce_few_shot, (3,))}
    folders["maple"] |= {"reproduce_maple": reproduce_base2new("maple"),
                         "reproduce_maple_xd": reproduce_xd("MaPLe", MAPLE_XD)}
    folders["vpt"]["reproduce_vpt"] = reproduce_base2new("vpt")
    folders["independent-vlp"]["reproduce_ivlp"] = reproduce_base2new("independent-vlp")
    return {f"{folder}/{name}": script for folder, scripts in folders.items() for name, script in scripts.items()}


SCRIPTS = _all_scripts()  # {"promptsrc/base2new_train": Script, ...}, as the files below scripts/ are called


class WrongUsage(InputError):
    """A script was called with another number of arguments than it takes."""


def call(name: str, root: Path, arguments: Sequence[str], env: Mapping[str, str]) -> Call:
    """Return what a script's call stands for.

    Args:
        name: its path below scripts/, without ".sh".
        root: the folder of configs/ (and of train.py, in a checkout).
        arguments: as typed.
        env: the environment.

    Raises:
        InputError: the script refuses what it was called with.
        WrongUsage: not the arguments that it takes; the message is its usage.
    """
    script = SCRIPTS[name]
    made = Call(root, arguments, env)
    if len(made.words) not in script.counts:
        raise WrongUsage(f"{script.usage} [-- KEY VALUE…]")
    script.make(made, *made.words)
    return made
