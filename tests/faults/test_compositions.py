"""Every wrapper over every method: two steps, saved, resumed to the bit, evaluated on its classes and on new ones."""
import pytest
import torch
from golden import tiny_clip
from support.every_trainer import METHODS, low_weights, made, meta_file
from support.reference import evaluate

from trainers.compat.registry import TRAINERS
from trainers.errors import InputError
from trainers.gram import GRAM
from trainers.inference.export import ImageBranch, to_safetensors
from trainers.inference.prompted_clip import PromptedCLIP
from trainers.meta.learner import METHODS as META_TRAINED
from trainers.protocols.names import ALIASES
from trainers.training import checkpoint
from trainers.training.composition import WRAPPERS, find

PLAIN = [name for name in METHODS if not issubclass(TRAINERS.entries[name].METHOD, tuple(WRAPPERS.values()))]
LEARNED = [name for name in PLAIN if not name.startswith("Zeroshot")]
STARTS = [name for name in LEARNED if issubclass(TRAINERS.entries[name].METHOD, tuple(META_TRAINED.values()))]
BELOW_DEPT = [name for name in LEARNED if not TRAINERS.entries[name].METHOD.overrides("second_step")]
COMPOSED = [*(f"DePT+{name}" for name in BELOW_DEPT), *(f"GRAM+DePT+{name}" for name in STARTS if name in BELOW_DEPT),
            *(f"GRAM+{name}" for name in STARTS if f"GRAM+{name}" not in ALIASES)]  # the others have tests as trainers


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return low_weights(tmp_path_factory.mktemp("weights"))


def build(name, weights, folder, **more):
    cls = TRAINERS.entries[find(name)]
    folder.mkdir(exist_ok=True)
    if issubclass(cls.METHOD, GRAM):
        more["meta"] = meta_file(cls, weights, folder, trained=more.pop("regulated", True))
    return made(cls, "fp32", weights, folder, **more)


class Stop(Exception):
    """Ends a training where a process would have died."""


@pytest.mark.parametrize("name", COMPOSED)
def test_trains_saves_resumes_evaluates(name, weights, tmp_path):
    whole = build(name, weights, tmp_path / "whole")
    start = {n: p.clone() for n, p in whole.model.prompts.state_dict().items()}
    whole.train()
    stopped = build(name, weights, tmp_path / "parts")
    stopped.before_epoch = lambda: (_ for _ in ()).throw(Stop) if stopped.epoch == 1 else None
    with pytest.raises(Stop):
        stopped.train()
    resumed = build(name, weights, tmp_path / "parts")
    resumed.train()
    path = checkpoint.find_checkpoint(whole.output_dir, whole.model.FOLDER, 2)
    assert checkpoint.read_checkpoint(path)["trainer"] == find(name)
    trained = whole.model.prompts.state_dict()
    assert all(torch.equal(value, trained[n]) for n, value in resumed.model.prompts.state_dict().items())
    assert all(not torch.equal(value, start[n]) for n, value in trained.items() if "film" in n or "probe" in n)
    assert whole.results == resumed.results

    images = torch.cat([batch["img"] for batch in whole.test_loader])
    base, new = (build(name, weights, tmp_path / "other", classnames=names)
                 for names in (tiny_clip.CLASSNAMES, tiny_clip.NEW_CLASSNAMES))
    for other in (base, new):
        other.load_model(whole.output_dir, 2)
    assert torch.equal(evaluate(base, images), evaluate(whole, images))
    found = evaluate(new, images)
    assert found.shape[1] == len(tiny_clip.NEW_CLASSNAMES) and found.isfinite().all()
    if "DePT" in name:
        assert base.model.own_classes and not new.model.own_classes
        assert torch.equal(found, new.model.logits_of(new.model.image_features(images)))


def same_run(one, other, among):
    """Assert that two trainings end with the same prompts, of those that ``among`` names, and logits to the bit."""
    for trainer in (one, other):
        trainer.train()
    ours = other.model.prompts.state_dict()
    assert all(torch.equal(value, ours[n]) for n, value in one.model.prompts.state_dict().items() if n in among)
    images = one.test_loader[0]["img"]
    assert torch.equal(evaluate(one, images), evaluate(other, images))
    assert one.results["test"]["accuracy"] == other.results["test"]["accuracy"]


@pytest.mark.parametrize("name", BELOW_DEPT)
def test_dept_without_its_head_is_the_method(name, weights, tmp_path):
    alone = build(name, weights, tmp_path / "alone")
    wrapped = build(f"DePT+{name}", weights, tmp_path / "wrapped", keys=["TRAINER.LINEAR_PROBE.WEIGHT", 0.0])
    same_run(alone, wrapped, set(alone.model.prompts.state_dict()))


@pytest.mark.parametrize("name", [*STARTS, *(f"DePT+{name}" for name in STARTS if name in BELOW_DEPT)])
def test_gram_untrained_is_the_method(name, weights, tmp_path):
    alone, wrapped = (build(prefix + name, weights, tmp_path / f"{prefix}run", regulated=False)
                      if prefix else build(name, weights, tmp_path / "alone") for prefix in ("", "GRAM+"))
    with torch.no_grad():
        for own, theirs in zip(alone.model.prompts.parameters(), wrapped.model.prompts.parameters(), strict=True):
            own.copy_(theirs)
    same_run(alone, wrapped, set(alone.model.prompts.state_dict()))


@pytest.mark.parametrize(("name", "reason"), [
    ("GRAM+CoOpp", "GRAM+CoOpp: there is no method CoOpp: did you mean CoOp?"),
    ("DePTT+CoOp", "DePTT+CoOp: there is no wrapper DePTT: did you mean DePT?"),
    ("CoOp+PromptSRC", "CoOp+PromptSRC: CoOp is a method, and wraps none: the wrappers are DePT, GRAM"),
    ("GRAM+DePT", "GRAM+DePT: DePT is a wrapper: a method must stand behind it, GRAM+DePT+CoOp say"),
    ("DePT+DePT+CoOp", "DePT+DePT+CoOp: DePT stands there twice, and once is all that it can do"),
    ("DePT+GRAM+CoOp", "DePT+GRAM+CoOp: one composition has one name: write GRAM+DePT+CoOp"),
    ("DePT+GRAMCoOp", "DePT+GRAMCoOp: GRAMCoOp is a composition already"),
    ("GRAM+MaPLe", "GRAM+MaPLe: GRAM has a meta-training for the prompts of"),
    ("DePT+ZeroshotCLIP", "DePT+ZeroshotCLIP: DePT reads features before they are normalized: the method needs"),
    ("DePT+ProMetaR", "DePT+ProMetaR: the method's second step has a loss of its own, without DePT's head"),
    ("+CoOp", "+CoOp: there is no wrapper (empty): choose one of"),
])
def test_what_makes_no_sense_is_refused_in_one_line(name, reason):
    with pytest.raises(InputError) as error:
        find(name)
    assert str(error.value).startswith(reason) and "\n" not in str(error.value)
    assert name not in TRAINERS.entries


def test_another_name_means_the_same_trainer():
    assert [find(name) for name in ("GRAM+CoOp", "GRAM+IVLP", "ExtrasLinearProbeCoCoOp", "CoOp")] == [
        "GRAMCoOp", "UNIGRAM", "DePT+CoCoOp", "CoOp"]
    assert TRAINERS.entries["DePT+CoCoOp"].METHOD.__name__ == "DePT+CoCoOp"


def test_its_classifier_goes_with_an_export(weights, tmp_path):
    """The file gives the same logits, of fewer classes those classes' columns; other classes have no part in it."""
    trainer = build("DePT+CoOp", weights, tmp_path / "run", keys=["INPUT.SIZE", (32, 32)])
    trainer.train()
    images = trainer.test_loader[0]["img"]
    model = PromptedCLIP.from_checkpoint(trainer.output_dir)
    to_safetensors(model, tmp_path / "dept.safetensors")
    again = PromptedCLIP.from_checkpoint(tmp_path / "dept.safetensors")
    expected = evaluate(trainer, images)
    assert torch.equal(again.logits(images), expected)
    assert torch.equal(ImageBranch(again)(images).argmax(-1), expected.argmax(-1))
    torch.testing.assert_close(ImageBranch(again)(images), expected)
    few = list(reversed(tiny_clip.CLASSNAMES[1:4]))
    torch.testing.assert_close(again.with_classnames(few).logits(images), expected[:, [3, 2, 1]])
    other = again.with_classnames(tiny_clip.NEW_CLASSNAMES)
    with pytest.raises(InputError, match="has a classifier of the classes that it was trained on"):
        to_safetensors(other, tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", ["CoOp", "CoCoOp", "VPT"])
def test_a_similarity_head_without_films_is_the_method_s_own(name, weights, tmp_path):
    """Then both parts are the same logits, of text that is the classes' or each image's; with films it learns these."""
    keys = ["TRAINER.LINEAR_PROBE.TYPE", "similarity"]
    trainer = build(f"DePT+{name}", weights, tmp_path / "none", keys=[*keys, "TRAINER.FILM.LINEAR_PROBE", False])
    trainer.train()
    images = trainer.test_loader[0]["img"]
    found = evaluate(trainer, images)
    own = trainer.model.logits_of(trainer.model.image_features(images))
    torch.testing.assert_close(found, own, rtol=1e-5, atol=1e-5)
    trainer = build(f"DePT+{name}", weights, tmp_path / "films", keys=keys)
    trainer.train()
    assert [n for n in trainer.model.prompts.state_dict() if n.partition(".")[0] in trainer.model.prompts.added] == [
        "film_lp_img.scale", "film_lp_img.bias", "film_lp_text.scale", "film_lp_text.bias"]
    assert not torch.equal(evaluate(trainer, images), found)
