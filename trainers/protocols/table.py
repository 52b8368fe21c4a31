"""The published scripts, a row each: what they are called with, and the protocol's configs, shots, epochs and keys.

Every number here is a paper's or its repository's; a new method needs no row, its scripts are those of any trainer.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .call import Call
from .names import ALIASES

SRC = "vit_b16_c2_ep20_batch4_4+4ctx"
SRC_FEW_SHOT = "vit_b16_c2_ep50_batch4_4+4ctx_few_shot"
MAPLE, VPT, COCOOP = "vit_b16_c2_ep5_batch4_2ctx", "vit_b16_c2_ep5_batch4_4", "vit_b16_c4_ep10_batch1_ctxv1"
KGCOOP, GRAM_COOP = "vit_b16_ep100_ctxv1", "vit_b16_ep50_ctxv1"
TCP, MMA, MMA_IMAGENET = "vit_b16_ep100_ctxv1", "vit_b16_ep5", "vit_b16_ep5_imnet"
PROMETAR = "vit_b16_c2_ep10_batch4_4+4ctx"
SHORT = ("imagenet", "sun397")  # TCP's 25 epochs; 50 of all others
GRAM = {  # trainer: (config, config of few-shot)
    "UNIGRAM": (SRC, SRC), "GRAMPromptSRC": (SRC, SRC_FEW_SHOT), "GRAMVPT": (VPT, VPT), "GRAMCoCoOp": (COCOOP, COCOOP),
    "GRAMCoOp": (GRAM_COOP, GRAM_COOP), "GRAMProGrad": (GRAM_COOP, GRAM_COOP)}
NARROW = ("stanford_cars", "oxford_flowers", "fgvc_aircraft", "dtd", "eurosat")  # PromptSRC's few-shot aggregation
DEPT = {  # trainer: config, of all settings; PromptSRC's and the later ones are those of the method alone
    "DePT+CoOp": "vit_b16_ep10_bs4_lr35", "DePT+CoCoOp": COCOOP, "DePT+KgCoOp": "vit_b16_ep10_ctxv1_bs4_lr35",
    "DePT+MaPLe": "vit_b16_c2_ep10_batch4_2ctx", "DePT+PromptSRC": SRC, "DePT+IVLP": SRC, "DePT+VPT": VPT}
GENTLE = ("oxford_flowers", "dtd", "eurosat")  # ProGrad's lambda is 0.8 there, of 8 and 16 shots


@dataclass(frozen=True)
class Script:
    """A script: the words of its usage, how many arguments each way of calling it has, and what it does."""
    usage: str
    make: Callable[..., None]
    counts: tuple[int, ...]


def aggregation(call: Call, dataset: str) -> list[str]:
    """Return PromptSRC's few-shot mean and deviation for the dataset; GPA_MEAN and GPA_STD win."""
    mean, std = ("45", "5") if dataset in NARROW else ("30", "30")
    return ["TRAINER.PROMPTSRC.GPA_MEAN", call.get("GPA_MEAN", mean),
            "TRAINER.PROMPTSRC.GPA_STD", call.get("GPA_STD", std)]


SETTINGS = ("base2new_train", "base2new_test", "few_shot", "xd_train", "xd_test")
# folder: (trainer, config, of few-shot, of transfer, suffix of the scripts' names)
PLAIN = {
    "promptsrc": ("PromptSRC", SRC, SRC_FEW_SHOT, f"{SRC}_cross_datasets", ""),
    "independent-vlp": ("IVLP", SRC, SRC, SRC, "_ivlp"),
    "maple": ("MaPLe", MAPLE, MAPLE, f"{MAPLE}_cross_datasets", "_maple"),
    "vpt": ("VPT", VPT, VPT, VPT, "_vpt"), "cocoop": ("CoCoOp", COCOOP, COCOOP, COCOOP, ""),
    "kgcoop": ("KgCoOp", KGCOOP, KGCOOP, KGCOOP, "")}


def plain_script(folder: str, setting: str) -> Script:
    """Return the script of a method that differs from others in names and configs alone."""
    trainer, cfg, few_shot, xd, _ = PLAIN[folder]
    cfg = few_shot if setting == "few_shot" else xd if setting.startswith("xd") else cfg

    def make(call: Call, dataset: str, last: str) -> None:
        keys = aggregation(call, dataset) if (trainer, setting) == ("PromptSRC", "few_shot") else []
        in_setting(call, setting, trainer, call.get("CFG", cfg), dataset, last, *keys)
    return Script(usage(setting), make, (2,))


def usage(setting: str) -> str:
    return "DATASET SHOTS" if setting == "few_shot" else "DATASET SEED"


# ---- CoOp and ProGrad: ResNet-50, epochs by shots, the context's form in folders and keys

def epochs_by_shots(call: Call, dataset: str, shots: str) -> str:
    """Return CoOp's and ProGrad's config: 50 epochs for 1 shot and for ImageNet, 100 for 2 and 4, 200 for more."""
    backbone = call.get("BACKBONE", "rn50")
    if dataset == "imagenet" or shots == "1":
        return f"{backbone}_ep50"
    return f"{backbone}_ep100" if shots in ("2", "4") else backbone


def context(call: Call, default: str = "16") -> tuple[str, str, str]:
    """Return N_CTX, CSC and the class token's position by NCTX, CSC and CTP."""
    return call.get("NCTX", default), call.get("CSC", "False"), call.get("CTP", "end")


def context_keys(n_ctx: str, csc: str, position: str) -> list[str]:
    return ["TRAINER.COOP.N_CTX", n_ctx, "TRAINER.COOP.CSC", csc, "TRAINER.COOP.CLASS_TOKEN_POSITION", position]


def nothing(call: Call, dataset: str, shots: str) -> list[str]:
    return []


def prograd_lambda(call: Call, dataset: str, shots: str) -> list[str]:
    """Return the published share of the conflicting gradient that is taken away; LAMBDA wins."""
    gentle = dataset in GENTLE and shots in ("8", "16")
    return ["LOSS.LAMBDA", call.get("LAMBDA", "0.8" if gentle else "1.0")]


def coop_scripts(trainer: str, xd_shots: str, few_shot_name: str,
                 own: Callable[[Call, str, str], list[str]]) -> dict[str, Script]:
    """Return {name: script} of CoOp or ProGrad; `own` gives the keys of the method itself."""
    def base2new(part: str) -> Callable[..., None]:
        def make(call: Call, dataset: str) -> None:
            shots, cfg = call.get("SHOTS", "4"), call.get("CFG", epochs_by_shots(call, dataset, "4"))
            for seed in call.seeds:
                getattr(call, part)(trainer, cfg, shots, dataset, seed, *own(call, dataset, shots),
                                    *context_keys(*context(call)))
        return make

    def few_shot(call: Call, dataset: str, *form: str) -> None:
        if len(form) == 1:  # the shots alone: the rest is as published
            n_ctx, csc, position = context(call)
            cfg, shots = call.get("CFG", epochs_by_shots(call, dataset, form[0])), form[0]
        else:
            cfg, position, n_ctx, shots, csc = form
        for seed in call.seeds:
            call.all_classes(trainer, cfg, shots, dataset, seed, *own(call, dataset, shots),
                             *context_keys(n_ctx, csc, position), below=f"/nctx{n_ctx}_csc{csc}_ctp{position}")

    def evaluate(call: Call, dataset: str, cfg: str = "") -> None:
        cfg = cfg or call.get("CFG", f"{call.get('BACKBONE', 'rn50')}_ep50")
        shots, (n_ctx, csc, position) = call.get("SHOTS", xd_shots), context(call)
        for seed in call.seeds:
            call.transfer(trainer, cfg, shots, dataset, seed, *own(call, "imagenet", shots),
                          *context_keys(n_ctx, csc, position), below=f"/nctx{n_ctx}_csc{csc}_ctp{position}")
    return {"base2new_train": Script("DATASET", base2new("base2new_train"), (1,)),
            "base2new_test": Script("DATASET", base2new("base2new_test"), (1,)),
            few_shot_name: Script("DATASET SHOTS, or DATASET CFG CTP NCTX SHOTS CSC", few_shot, (2, 6)),
            "eval": Script("DATASET [CFG]", evaluate, (1, 2))}


def kgcoop_base2new(part: str) -> Script:
    """KgCoOp's base-to-new: for each of SEEDS, the loss's weight W (WEIGHT) in the folder."""
    def make(call: Call, dataset: str) -> None:
        weight = call.get("WEIGHT", "8.0")
        for seed in call.seeds:
            getattr(call, part)("KgCoOp", call.get("CFG", KGCOOP), f"{call.shots}_{weight}", dataset, seed,
                                "TRAINER.COOP.W", weight, *context_keys(*context(call, "4")))
    return Script("DATASET", make, (1,))


# ---- TCP, MMA and ProMetaR: what their papers have no scripts for follows PromptSRC's layout

def trained_on(call: Call, setting: str, dataset: str) -> str:
    """Return the dataset that a script's prompts are, or were, trained on."""
    return call.get("SOURCE", "imagenet") if setting == "xd_test" else dataset


def tcp_script(setting: str) -> Script:
    """TCP's: 25 epochs on ImageNet and SUN397, as its train.py sets them."""
    def make(call: Call, dataset: str, last: str) -> None:
        if trained_on(call, setting, dataset) in SHORT:
            call.options = ["OPTIM.MAX_EPOCH", "25", *call.options]
        in_setting(call, setting, "TCP", call.get("CFG", TCP), dataset, last)
    return Script(usage(setting), make, (2,))


def mma_script(setting: str) -> Script:
    """MMA's: the config and, of tests, the epoch may be given; ImageNet has a config of its own."""
    test = setting.endswith("test")

    def make(call: Call, dataset: str, last: str, cfg: str = "", epoch: str = "") -> None:
        usual = MMA_IMAGENET if trained_on(call, setting, dataset) == "imagenet" else MMA
        call.env = {**call.env, "LOADEP": epoch} if epoch else call.env
        in_setting(call, setting, "MultiModalAdapter", cfg or call.get("CFG", usual), dataset, last)
    return Script(f"{usage(setting)} [CFG]{' [EPOCH]' * test}", make, (2, 3, 4) if test else (2, 3))


def prometar_script(setting: str) -> Script:
    """ProMetaR's: base-to-new takes the number of a GPU, and its test the word "new" behind that, as published."""
    more = {"base2new_train": " [GPU]", "base2new_test": " [GPU] [new]"}.get(setting, "")

    def make(call: Call, dataset: str, last: str, gpu: str = "", classes: str = "new") -> None:
        if classes != "new":
            raise InputError(f"{classes}: base2new_test.sh evaluates on the new classes; those of the training are "
                             "evaluated at its end")
        call.environment |= {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}
        in_setting(call, setting, "ProMetaR", call.get("CFG", PROMETAR), dataset, last)
    return Script(usage(setting) + more, make, tuple(range(2, 3 + len(more.split()))))


# ---- methods named in the call

def gram_script(setting: str) -> Script:
    """GRAM's trainers (TRAINER, UNIGRAM by default) from the meta-trained file META, else the config's."""
    def make(call: Call, dataset: str, last: str) -> None:
        trainer = call.get("TRAINER", "UNIGRAM")
        if trainer not in GRAM and not call.get("CFG", ""):
            raise InputError(f"TRAINER {trainer}: choose {', '.join(GRAM)}")
        cfg = call.get("CFG", "") or GRAM[trainer][setting == "few_shot"]
        meta = ["TRAINER.GRAM.META", call.env["META"]] if call.get("META", "") else []
        meta += aggregation(call, dataset) if (trainer, setting) == ("GRAMPromptSRC", "few_shot") else []
        in_setting(call, setting, trainer, cfg, dataset, last, *meta)
    return Script(usage(setting), make, (2,))


def dept_script(setting: str) -> Script:
    """DePT's: TRAINER is a composition or a word of its repository's --cfg: coop_dept, cocoop_dept, kgcoop_dept, …"""
    def make(call: Call, dataset: str, last: str) -> None:
        given = call.get("TRAINER", "DePT+CoOp")
        trainer = {**ALIASES, **{f"{name[5:].lower()}_dept": name for name in DEPT}}.get(given, given)
        if trainer not in DEPT and not (call.get("CFG", "") and trainer.startswith("DePT+")):
            raise InputError(f"TRAINER {given}: choose {', '.join(DEPT)}, or name another's config in CFG")
        in_setting(call, setting, trainer, call.get("CFG", "") or DEPT[trainer], dataset, last)
    return Script(usage(setting), make, (2,))


def any_script(setting: str) -> Script:
    """Any trainer's, a user's own too; CFG names its config, and need not where there is but one, the study's aside."""
    def make(call: Call, trainer: str, dataset: str, last: str) -> None:
        trainer = ALIASES.get(trainer, trainer)
        folder = call.find_config(f"trainers/{trainer}")
        found = [path.stem for path in sorted(Path(folder).glob("*.yaml"))]
        usual = [name for name in found if name != "study"] or found
        cfg = call.get("CFG", usual[0] if len(usual) == 1 else "")
        if not cfg:
            raise InputError(f"{trainer}: name a config in CFG, one of those in {folder}")
        in_setting(call, setting, trainer, cfg, dataset, last)
    return Script(f"TRAINER {usage(setting)}", make, (3,))


def in_setting(call: Call, setting: str, trainer: str, cfg: str, dataset: str, last: str, *keys: str) -> None:
    """Add a script's runs; `last` is its last argument: the shots of few-shot, else the seed."""
    if setting == "few_shot":
        for seed in call.seeds:
            call.all_classes(trainer, cfg, last, dataset, seed, *keys)
    else:
        add = {"base2new_train": call.base2new_train, "base2new_test": call.base2new_test,
               "xd_train": call.all_classes, "xd_test": call.transfer}[setting]
        add(trainer, cfg, call.shots, dataset, last, *keys)
