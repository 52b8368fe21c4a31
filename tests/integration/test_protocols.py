"""The published settings, sentences and sources, as papers and repositories state them, written down once more.

Every config is merged as a run merges it, so what a file leaves to the defaults is held as well.
"""
import importlib
import json
import shlex
import subprocess
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from support import reference
from support.paths import GOLDEN, ROOT

import trainers  # noqa: F401  adds its keys to the default config
from dassl.config import get_cfg_default
from trainers import tcp
from trainers.clip import templates
from trainers.config.yaml_text import flatten
from trainers.errors import InputError

COMMON = {
    "OPTIM.NAME": "sgd", "OPTIM.MOMENTUM": 0.9, "OPTIM.WEIGHT_DECAY": 5e-4, "OPTIM.LR_SCHEDULER": "cosine",
    "OPTIM.WARMUP_EPOCH": 1, "OPTIM.WARMUP_TYPE": "constant", "OPTIM.WARMUP_CONS_LR": 1e-5,
    "OPTIM.WARMUP_RECOUNT": True,
    "INPUT.SIZE": (224, 224), "INPUT.INTERPOLATION": "bicubic", "INPUT.RRCROP_SCALE": (0.08, 1.0),
    "INPUT.PIXEL_MEAN": (0.48145466, 0.4578275, 0.40821073), "INPUT.PIXEL_STD": (0.26862954, 0.26130258, 0.27577711),
    "INPUT.TRANSFORMS": ("random_resized_crop", "random_flip", "normalize"),
    "DATALOADER.TEST.BATCH_SIZE": 100, "DATALOADER.NUM_WORKERS": 8, "TEST.FINAL_MODEL": "last_step"}
WORDS = "a photo of a"
BOTH = {"N_CTX_VISION": 4, "N_CTX_TEXT": 4, "CTX_INIT": WORDS, "PROMPT_DEPTH_VISION": 9, "PROMPT_DEPTH_TEXT": 9,
        "PREC": "fp16"}
SRC = {**BOTH, "TEXT_LOSS_WEIGHT": 25, "IMAGE_LOSS_WEIGHT": 10, "GPA_MEAN": 15, "GPA_STD": 1}
SHALLOW = {"PROMPT_DEPTH_VISION": 3, "PROMPT_DEPTH_TEXT": 3, "GPA_MEAN": 6, "GPA_STD": 10}
COOP = {"N_CTX": 16, "CSC": False, "CLASS_TOKEN_POSITION": "end", "PREC": "fp16"}
# config: (batch, learning rate, epochs, backbone, section, its keys)
PUBLISHED = {
    "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx": (4, 0.0025, 20, "ViT-B/16", "PROMPTSRC", SRC),
    "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets":
        (4, 0.0025, 20, "ViT-B/16", "PROMPTSRC", {**SRC, **SHALLOW}),
    "PromptSRC/vit_b16_c2_ep50_batch4_4+4ctx_few_shot":
        (4, 0.0025, 50, "ViT-B/16", "PROMPTSRC", {**SRC, "GPA_MEAN": 30, "GPA_STD": 30}),
    "IVLP/vit_b16_c2_ep20_batch4_4+4ctx": (4, 0.0025, 20, "ViT-B/16", "IVLP", BOTH),
    "IVLP/vit_b16_c2_ep5_batch4_2+2ctx":
        (4, 0.0035, 5, "ViT-B/16", "IVLP", {**BOTH, "N_CTX_VISION": 2, "N_CTX_TEXT": 2, "PROMPT_DEPTH_VISION": 12,
                                            "PROMPT_DEPTH_TEXT": 12}),
    "IVLP/vit_b16_c2_ep5_batch4_4ctx_language_only":
        (4, 0.0025, 5, "ViT-B/16", "IVLP", {**BOTH, "N_CTX_VISION": 0, "N_CTX_TEXT": 4, "PROMPT_DEPTH_VISION": 0,
                                            "PROMPT_DEPTH_TEXT": 12}),
    "MaPLe/vit_b16_c2_ep5_batch4_2ctx":
        (4, 0.0035, 5, "ViT-B/16", "MAPLE", {"N_CTX": 2, "PROMPT_DEPTH": 9, "CTX_INIT": WORDS, "PREC": "fp16"}),
    "MaPLe/vit_b16_c2_ep5_batch4_2ctx_cross_datasets":
        (4, 0.0026, 2, "ViT-B/16", "MAPLE", {"N_CTX": 2, "PROMPT_DEPTH": 3, "CTX_INIT": WORDS, "PREC": "fp16"}),
    "KgCoOp/vit_b16_ep100_ctxv1":
        (128, 0.002, 100, "ViT-B/16", "COOP", {**COOP, "CTX_INIT": True, "N_CTX": 4, "W": 8.0}),
    "KgCoOp/rn50_ep100": (128, 0.002, 100, "RN50", "COOP", {**COOP, "CTX_INIT": True, "N_CTX": 4, "W": 8.0}),
    "VPT/vit_b16_c2_ep5_batch4_4":
        (4, 0.0025, 5, "ViT-B/16", "VPT",
         {"N_CTX_VISION": 8, "PROMPT_DEPTH_VISION": 12, "CTX_INIT": WORDS, "PREC": "fp16"}),
    **{f"ProGrad/rn50{name}": (32, 0.002, epochs, "RN50", "COOP", {**COOP, "CTX_INIT": True})
       for name, epochs in (("", 200), ("_ep100", 100), ("_ep50", 50))},
    **{f"CoOp/{file}{name}{start}":
       (32, 0.002, epochs, backbone, "COOP", {**COOP, "CTX_INIT": WORDS if start else None})
       for (file, backbone), (name, epochs), start in product(
           (("rn50", "RN50"), ("rn101", "RN101"), ("vit_b16", "ViT-B/16"), ("vit_b32", "ViT-B/32")),
           (("", 200), ("_ep100", 100), ("_ep50", 50)), ("", "_ctxv1"))},
    **{f"CoCoOp/vit_b16_c{n}_ep10_batch1{start}":
       (1, 0.002, 10, "ViT-B/16", "COCOOP", {"N_CTX": n, "CTX_INIT": WORDS if start else None, "PREC": "fp16"})
       for n, start in ((4, ""), (8, ""), (16, ""), (4, "_ctxv1"))},
    **{f"CoCoOp/rn50_{name}": (1, 0.002, epochs, "RN50", "COCOOP", {"N_CTX": n, "CTX_INIT": True, "PREC": "fp16"})
       for name, n, epochs in (("c4_ep10_batch1_ctxv1", 4, 10), ("ep50", 16, 50), ("ep100_init", 16, 100))},
}
ADAPTERS = {"TEXT_CTX_INIT": WORDS, "ADAPTER_START": 5, "ADAPTER_END": 12, "ADAPTER_DIM": 32, "ADAPTER_SCALE": 0.001,
                "PREC": "amp"}
PUBLISHED |= {
    "TCP/vit_b16_ep100_ctxv1": (32, 0.002, 50, "ViT-B/16", "TCP", {"W": 8.0, "LAYER": 8, "PREC": "fp16"}),
    "MultiModalAdapter/vit_b16_ep5": (16, 0.0015, 5, "ViT-B/16", "MMADAPTER", ADAPTERS),
    "MultiModalAdapter/vit_b16_ep5_imnet": (128, 0.0015, 5, "ViT-B/16", "MMADAPTER", ADAPTERS),
    "ProMetaR/vit_b16_c2_ep10_batch4_4+4ctx":
        (4, 0.0025, 10, "ViT-B/16", "PROMETAR", {**BOTH, "TEXT_LOSS_WEIGHT": 50, "IMAGE_LOSS_WEIGHT": 20,
                                                 "ADAPT_LR": 0.0005, "LR_RATIO": 0.0005})}
OWN = {"TCP": {"OPTIM.NAME": "adam", "OPTIM.ADAM_EPS": 1e-3, "DATALOADER.TEST.BATCH_SIZE": 500},
       "MultiModalAdapter": {"OPTIM.WARMUP_EPOCH": 0, "OPTIM.WARMUP_TYPE": "linear"},
       "ProMetaR": {"OPTIM_VNET.NAME": "sgd", "OPTIM_VNET.LR": 0.00025, "OPTIM_VNET.WARMUP_CONS_LR": 1e-6}}
PRINTED = {"TCP": 5, "CoOp": 5, "ProGrad": 5, "KgCoOp": 5}  # TRAIN.PRINT_FREQ; 20 of the others
PROBE = {"LINEAR_PROBE.TYPE": "linear", "LINEAR_PROBE.WEIGHT": 0.7, "LINEAR_PROBE.TEST_TIME_FUSION": True,
         "FILM.LINEAR_PROBE": True}
DEPT = {  # as PUBLISHED; DePT's own keys besides
    "DePT+CoOp/vit_b16_ep10_bs4_lr35": (4, 0.0035, 10, "ViT-B/16", "COOP", {**COOP, "CTX_INIT": None}),
    "DePT+CoCoOp/vit_b16_c4_ep10_batch1_ctxv1":
        (1, 0.002, 10, "ViT-B/16", "COCOOP", {"N_CTX": 4, "CTX_INIT": WORDS, "PREC": "fp16"}),
    "DePT+KgCoOp/vit_b16_ep10_ctxv1_bs4_lr35":
        (4, 0.0035, 10, "ViT-B/16", "COOP", {**COOP, "CTX_INIT": True, "N_CTX": 4, "W": 2.0}),
    "DePT+MaPLe/vit_b16_c2_ep10_batch4_2ctx":
        (4, 0.0035, 10, "ViT-B/16", "MAPLE", {"N_CTX": 2, "PROMPT_DEPTH": 9, "CTX_INIT": WORDS, "PREC": "fp16"})}
PUBLISHED.update(DEPT)


def merged(config):
    cfg = get_cfg_default()
    cfg.merge_from_file(str(ROOT / "configs" / "trainers" / f"{config}.yaml"))
    found = {key: tuple(value) if isinstance(value, list) else value for key, value in flatten(cfg).items()}
    return {key: value or None if key.endswith("CTX_INIT") else value for key, value in found.items()}


@pytest.mark.parametrize("config", PUBLISHED)
def test_settings(config):
    batch, lr, epochs, backbone, section, own = PUBLISHED[config]
    expected = {**COMMON, "DATALOADER.TRAIN_X.BATCH_SIZE": batch, "OPTIM.LR": lr, "OPTIM.MAX_EPOCH": epochs,
                "MODEL.BACKBONE.NAME": backbone, **{f"TRAINER.{section}.{key}": value for key, value in own.items()}}
    expected |= OWN.get(config.partition("/")[0], {})
    expected["TRAIN.PRINT_FREQ"] = PRINTED.get(config.partition("/")[0], 20)
    if config in DEPT:
        expected |= {"OPTIM.LR_EXP": 6.5, **{f"TRAINER.{key}": value for key, value in PROBE.items()}}
    if config.startswith("ProGrad"):
        expected |= {"LOSS.NAME": "prograd", "LOSS.T": 1.0, "LOSS.LAMBDA": 1.0}
    found = merged(config)
    assert {key: found[key] for key in expected} == expected


def test_settings_for_the_frozen_models_features():
    """CoOp's rn50_val, of its linear probe: sizes alone, and no optimizer."""
    found, plain = merged("CoOp/rn50_val"), get_cfg_default()
    assert found["DATALOADER.TRAIN_X.BATCH_SIZE"] == found["DATALOADER.TEST.BATCH_SIZE"] == 200
    assert found["MODEL.BACKBONE.NAME"] == "RN50"
    alike = [key for key in COMMON if key.startswith("INPUT.")]
    assert {key: found[key] for key in alike} == {key: COMMON[key] for key in alike}
    own = {key: value for key, value in flatten(plain).items() if key.startswith(("OPTIM.", "TRAINER.", "TRAIN."))}
    assert {key: found[key] or None if key.endswith("CTX_INIT") else found[key] for key in own} == own


def test_no_other_config_claims_to_be_published():
    ours = {str(path.relative_to(ROOT / "configs" / "trainers"))[:-5]
            for path in (ROOT / "configs" / "trainers").rglob("*.yaml") if path.stem not in ("demo", "study")}
    without = {config for config in ours if not config.startswith(("GRAM", "UNIGRAM", "ZeroshotCLIP"))}
    assert without == {*PUBLISHED, "CoOp/rn50_val"}


@pytest.mark.parametrize("name", ["promptsrc/few_shot.sh dtd 4", "prograd/few_shot.sh dtd rn50 end 16 4 False"])
def test_scripts_that_loop_over_seeds_take_the_three_published(name, monkeypatch):
    monkeypatch.delenv("SEEDS", raising=False)
    monkeypatch.setenv("DRY_RUN", "1")
    script, *words = name.split()
    done = subprocess.run(["bash", ROOT / "scripts" / script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commands = map(shlex.split, done.stdout.splitlines())
    assert [words[words.index("--seed") + 1] for words in commands] == ["1", "2", "3"]


# ---- sentences

LEFT_OUT = json.loads((GOLDEN / "templates_left_out.json").read_text())
ZERO_SHOT = {"OxfordPets": "a photo of a {}, a type of pet.", "OxfordFlowers": "a photo of a {}, a type of flower.",
             "FGVCAircraft": "a photo of a {}, a type of aircraft.", "DescribableTextures": "{} texture.",
             "EuroSAT": "a centered satellite photo of {}.", "Food101": "a photo of {}, a type of food.",
             "UCF101": "a photo of a person doing {}."}
PROGRAD = {"OxfordPets": "a type of pet, a photo of a {}.", "OxfordFlowers": "a type of flower, a photo of a {}.",
           "FGVCAircraft": "a type of aircraft, a photo of a {}.", "DescribableTextures": "a texture of {}.",
           "EuroSAT": "a centered satellite photo of {}.", "Food101": "a type of food, a photo of {}.",
           "UCF101": "a photo of a person doing {}."}
DATASETS = ["ImageNet", "Caltech101", "OxfordPets", "StanfordCars", "OxfordFlowers", "Food101", "FGVCAircraft",
            "SUN397", "DescribableTextures", "EuroSAT", "UCF101", "ImageNetV2", "ImageNetSketch", "ImageNetA",
            "ImageNetR"]


def test_sentences_of_every_dataset():
    kgcoop = {**ZERO_SHOT, "DescribableTextures": "a photo of a {}, a type of texture."}
    tables = (templates.ZERO_SHOT, ZERO_SHOT), (templates.PROGRAD, PROGRAD), (templates.KGCOOP, kgcoop)
    for name in DATASETS:
        for table, published in tables:
            assert templates.of(table, name) == published.get(name, "a photo of a {}."), name


def test_tcps_sentences():
    """The teacher's and the learner's, whose first four words are learned, as TCP's repository has them."""
    pets, teacher, learner = ("OxfordPets", "OxfordFlowers", "Food101"), {}, {}
    for name, word in zip(pets, ("pet", "flower", "food"), strict=True):
        teacher[name], learner[name] = f"a photo of a {{}}, a type of {word}.", f"X X X X {{}}, a type of {word}."
    teacher |= {"FGVCAircraft": "a photo of an aircraft {}.", "EuroSAT": "a centered satellite photo of {}.",
                "DescribableTextures": "a photo of a {}, a type of texture.", "UCF101": ZERO_SHOT["UCF101"]}
    learner |= {"FGVCAircraft": "X X X X {}, a type of aircraft.", "DescribableTextures": "X X X X {} texture.",
                "StanfordCars": "X X X X {}, a type of car", "UCF101": ZERO_SHOT["UCF101"],
                **dict.fromkeys(("EuroSAT", "SUN397", "Caltech101"), "X X X X {}.")}
    for name in DATASETS:
        assert templates.of(tcp.TEACHER, name) == teacher.get(name, "a photo of a {}.")
        assert templates.of(tcp.LEARNER, name) == learner.get(name, "a photo of a {}.")


def test_promptsrc_averages_sixty_of_clips_eighty():
    assert len(templates.DIVERSE) == len(set(templates.DIVERSE)) == 60
    assert len(LEFT_OUT["left_out_of_promptsrc"]) == 20
    assert not set(templates.DIVERSE) & set(LEFT_OUT["left_out_of_promptsrc"])
    eighty = {template("{}") for template in templates.OPENAI_IMAGENET_TEMPLATES}
    assert {*templates.DIVERSE, *LEFT_OUT["left_out_of_promptsrc"]} == eighty
    assert templates.SELECTED == LEFT_OUT["zeroshotclip2_selected_7"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return lambda kind: reference.weights_file(kind, folder)


@pytest.mark.parametrize("method,dataset,expected", [
    ("ZeroshotCLIP", "OxfordPets", ["a photo of a {}, a type of pet."]),
    ("ZeroshotCLIP", "SUN397", ["a photo of a {}."]),
    ("ZeroshotCLIP2", "EuroSAT", [*LEFT_OUT["zeroshotclip2_selected_7"], "a centered satellite photo of {}."]),
    ("ZeroshotCLIP2", "ImageNet", LEFT_OUT["zeroshotclip2_selected_7"])])
def test_zero_shot_logits_are_clips_own(method, dataset, expected, weights, tmp_path, monkeypatch):
    """Cosines with the mean over the sentences of open_clip's own unit features, times the logit scale."""
    monkeypatch.setitem(reference.CASES, "zero", (method, "vit", ["DATASET.NAME", dataset]))
    trainer = reference.make("zero", weights("vit"), tmp_path)
    names, model = trainer.model.classnames, trainer.model.clip.model
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        total = 0
        for sentence in expected:
            rows = trainer.model.clip.tokenizer([sentence.replace("{}", name.replace("_", " ")) for name in names])
            total = total + F.normalize(model.encode_text(rows), dim=-1)
        seen = F.normalize(model.encode_image(images), dim=-1)
        logits = model.logit_scale.exp() * seen @ F.normalize(total, dim=-1).T
    assert (trainer.model_inference(images) - logits).abs().max() < 1e-5 * logits.abs().max()


# ---- the frozen teacher

@pytest.mark.parametrize("case", ["promptsrc", "prograd"])
def test_the_teacher_is_in_float32_whatever_the_students_precision(case, weights, tmp_path):
    section = {"promptsrc": "PROMPTSRC", "prograd": "COOP"}[case]
    exact, low = (reference.make(case, weights(reference.CASES[case][1]), tmp_path / precision,
                                 settings=[f"TRAINER.{section}.PREC", precision]) for precision in ("fp32", "bf16"))
    assert low.model.clip.precision == "bf16" and torch.equal(low.model.frozen_text, exact.model.frozen_text)
    if case == "prograd":
        images = exact.train_loader_x[0]["img"]
        theirs = exact.model.image_features(images)
        assert torch.equal(low.model.teacher_features(images, low.model.image_features(images)), theirs)
        assert (low.model.image_features(images) - theirs).abs().max() > 1e-4, "the student's are not"
        assert exact.model.teacher_features(images, theirs) is theirs, "one pass for both"


@pytest.mark.parametrize("dataset,least", [("UCF101", 6), ("Food101", 7), ("OxfordPets", 8), ("ImageNet", 4)])
def test_prograds_own_words_need_their_places(dataset, least, weights, tmp_path):
    def start(n_ctx):
        settings = ["DATASET.NAME", dataset, "TRAINER.COOP.N_CTX", n_ctx, "TRAINER.COOP.CTX_INIT", True]
        return reference.make("prograd", weights("rn"), tmp_path, settings=settings).model.prompts.context
    assert not (start(least) == 0).all(1).any()
    assert (start(least + 2) == 0).all(1).tolist() == [True] * 2 + [False] * least
    with pytest.raises(InputError, match=rf"N_CTX is {least - 1}, and CTX_INIT True .* must be at least {least}"):
        start(least - 1)


# ---- sources

DRIVE = {
    "imagenet": ["1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF"], "caltech101": ["1hyarUivQE36mY6jSomru6Fjd-JzwcCzN"],
    "oxford_pets": ["1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs"], "stanford_cars": ["1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT"],
    "oxford_flowers": ["1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0", "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT"],
    "food101": ["1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl"], "sun397": ["1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq"],
    "dtd": ["1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x"], "eurosat": ["1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o"],
    "ucf101": ["10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O", "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y"]}


@pytest.mark.parametrize("name", DRIVE)
def test_google_drive_has_these_files(name):
    module = importlib.import_module(f"datasets.{name}")
    found = [url for value in vars(module).values() for source in getattr(value, "sources", ())
             for url in source.urls if getattr(value, "__module__", "") == module.__name__]
    assert sorted(url.removeprefix("drive:") for url in found if url.startswith("drive:")) == sorted(DRIVE[name])
