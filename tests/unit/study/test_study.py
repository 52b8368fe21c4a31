"""The study's statistics, its claims' verdicts, and a whole miniature of it in forks with a run that is faked."""
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy.stats import ttest_1samp

from trainers.cli.study import main
from trainers.results import compare
from trainers.results.published import DATASETS
from trainers.study import claims, command, plan, report
from trainers.study.statistics import FAILS, HOLDS, NOT_RUN, UNDECIDED, Difference, difference, smallest, verdict
from trainers.sweep import forked
from trainers.sweep.plan import Step
from trainers.training import run

NAMES = {key: name for name, (key, _) in DATASETS.items()}
ABOVE = {"ZeroshotCLIP": 0, "CoOp": 1, "ProGrad": 2, "IVLP": 4, "PromptSRC": 9}  # points of accuracy in the faked runs


def table(*rows):
    """Return {(dataset, seed): value} of rows of values, a row a dataset."""
    return {(f"d{number}", seed): value for number, row in enumerate(rows) for seed, value in enumerate(row, 1)}


def found(low, high):
    return Difference((low + high) / 2, low, high, 6, 3, "datasets", 1.0, 1.0)


def test_the_interval_is_over_the_datasets_means():
    made = difference(table([5, 7], [2, 4], [9, 9]), table([4, 4], [1, 1], [2, 3]))
    expected = ttest_1samp([2, 2, 6.5], 0)
    assert made.mean == pytest.approx(3.5) and (made.pairs, made.datasets, made.over) == (6, 3, "datasets")
    assert (made.low, made.high) == pytest.approx(expected.confidence_interval(0.95))


def test_of_two_datasets_it_is_over_their_seeds():
    made = difference(table([5, 7, 9], [2, 4, 7]), table([4, 4, 4], [1, 1, 1]))
    expected = ttest_1samp([1, 3, 5.5], 0).confidence_interval(0.95)
    assert made.over == "seeds" and (made.low, made.high) == pytest.approx(expected)


def test_only_pairs_count_and_one_pair_has_no_interval():
    made = difference({("a", 1): 5.0, ("a", 2): 9.0}, {("a", 1): 4.0, ("b", 1): 9.0})
    assert (made.mean, made.low, made.high, made.pairs) == (1.0, None, None, 1)
    assert difference({("a", 1): 5.0}, {("b", 1): 4.0}) is None


def test_deviations_between_datasets_and_between_seeds():
    made = difference(table([0, 2], [10, 12], [20, 22]), table([0, 0], [0, 0], [0, 0]))
    assert made.within == pytest.approx(2 ** 0.5) and made.between == pytest.approx((100 - 2 / 2) ** 0.5)
    equal = difference(table([0, 2], [2, 0]), table([0, 0], [0, 0]))
    assert equal.between == 0


def test_what_more_seeds_can_tell_apart():
    made = Difference(0, None, None, 12, 6, "datasets", 0.0, 3.0)
    assert smallest(made, 3)[0] == pytest.approx(2.5706 * (9 / 3 / 6) ** 0.5, abs=1e-3)
    assert smallest(made, 3)[0] / smallest(made, 12)[0] == pytest.approx(2)  # four times the seeds
    assert smallest(made, 3)[1] == pytest.approx((2.5706 + 0.9195) * 0.5 ** 0.5, abs=1e-3)
    bounded = Difference(0, None, None, 12, 6, "datasets", 3.0, 0.0)
    assert smallest(bounded, 10) == smallest(bounded, 3)  # datasets differ, whatever the seeds


@pytest.mark.parametrize("low, high, relation, expected", [
    (0.1, 2, ">", HOLDS), (-0.1, 2, ">", UNDECIDED), (-2, -0.1, ">", FAILS), (-0.9, 2, ">=", HOLDS),
    (-1.1, 2, ">=", UNDECIDED), (-0.9, -0.1, ">=", FAILS), (-2, -0.1, "!=", HOLDS), (-2, 0.1, "!=", UNDECIDED)])
def test_verdicts(low, high, relation, expected):
    assert verdict(found(low, high), relation) == expected


def test_no_verdict_without_runs_or_interval():
    assert verdict(None, ">") == NOT_RUN
    assert verdict(Difference(5, None, None, 1, 1, "seeds", 0, 0), ">") == UNDECIDED


def made_run(setting, dataset, seed, accuracy, classes="all", shots=16):
    return SimpleNamespace(setting=setting, dataset=dataset, data=dataset, seed=seed, accuracy=accuracy,
                           classes=classes, shots=shots)


def test_measures():
    runs = [made_run("base2new", "a", 1, 60.0, "base"), made_run("base2new", "a", 1, 30.0, "new"),
            made_run("base2new", "a", 2, 60.0, "base"), made_run("few_shot", "a", 1, 10.0, shots=1),
            made_run("few_shot", "a", 1, 20.0, shots=4), made_run("few_shot", "b", 1, 30.0, shots=4),
            made_run("xd", "a", 1, 5.0), made_run("xd", "emoji_things_line", 1, 6.0)]
    expected = {"base": {("a", 1): 60, ("a", 2): 60}, "new": {("a", 1): 30}, "H": {("a", 1): 40},
                "few_shot": {("a", 1): 15}, "xd": {("a", 1): 5}, "dg": {("emoji_things_line", 1): 6}}
    assert {measure: claims.values({"X": runs}, "X", measure) for measure in claims.MEASURES} == expected


def test_published_differences():
    figures = compare.published()
    one, = claims.judge([claims.Claim("", "H", "PromptSRC", "IVLP")], {}, figures)
    assert one.published == pytest.approx(79.97 - 77.51) and one.verdict == NOT_RUN
    one, = claims.judge([claims.Claim("", "H", "PromptSRC", "IVLP", published=1.5)], {}, figures)
    assert one.published == 1.5
    known = {*plan.METHODS, *plan.GRAM_METHODS, *(ablation.name for ablation in plan.ABLATIONS)}
    assert {name for claim in claims.CLAIMS for name in (claim.first, claim.second)} <= known


def fake_main(words):
    """Stand in for train.py's main: leave behind a result whose accuracy follows from method, classes and seed."""
    flags = {word: words[number + 1] for number, word in enumerate(words[:-1]) if word.startswith("--")}
    keys = {word: words[number + 1] for number, word in enumerate(words[:-1]) if "." in word}
    folder, seed, classes = Path(flags["--output-dir"]), int(flags["--seed"]), keys.get("DATASET.SUBSAMPLE_CLASSES")
    if "FAKE_FAIL" in os.environ and os.environ["FAKE_FAIL"] in str(folder):
        print("error: no room on the disk")
        return 3
    folder.mkdir(parents=True)
    key = Path(flags["--dataset-config-file"]).stem
    accuracy = 50 + ABOVE[flags["--trainer"]] + 0.1 * seed + (len(key) % 5) * (0.1 * ABOVE[flags["--trainer"]])
    folder.joinpath("result.json").write_text(json.dumps({
        "trainer": flags["--trainer"], "dataset": NAMES[key], "classes": classes or "all", "seed": seed,
        "shots": int(keys.get("DATASET.NUM_SHOTS", -1)), "backbone": "study", "command": ["train.py", *words],
        "results": {"test": {"accuracy": accuracy}}}))
    return 0


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Let forked runs do nothing but leave results, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "main", fake_main)
    monkeypatch.setattr(forked, "prepare", lambda: None)
    for name in ("DATA", "OUTPUT", "CFG", "SHOTS", "SEEDS", "OPTS", "LOADEP", "PYTHON"):
        monkeypatch.delenv(name, raising=False)


def test_a_miniature_study(fake, capsys):
    words = ["--quick", "--methods", "PromptSRC", "--against", "IVLP", "--seeds", "1", "2", "--jobs", "2"]
    assert main(words) == 0
    out = capsys.readouterr().out
    data = json.loads(Path("output/study/study.json").read_text())
    found = {claim["measure"]: claim for claim in data["claims"]}
    assert set(found) == set(claims.MEASURES) and data["seeds"] == [1, 2] and data["seconds"] is not None
    expected = [5 + 0.5 * (len(key) % 5) for key in plan.QUICK[0].datasets]
    assert found["base"]["found"]["mean"] == pytest.approx(sum(expected) / 3) and found["base"]["verdict"] == HOLDS
    assert found["dg"]["found"]["over"] == "seeds" and found["few_shot"]["found"]["pairs"] == 2
    assert "Base-to-new" in out and "Domain generalization" in out and "PromptSRC against IVLP" in out
    page = Path("output/study/study.html").read_text()
    assert "PromptSRC and IVLP" in page and page.count("<img") >= 2
    assert Path("output/study/pictures/base_new.pdf").stat().st_size

    stamps = {path: path.stat().st_mtime_ns for path in Path("output").rglob("result.json")}
    assert main(words) == 0
    jobs, = {line for line in capsys.readouterr().out.splitlines() if "finished already" in line}
    assert jobs.split()[0] == jobs.split()[2]
    assert {path: path.stat().st_mtime_ns for path in Path("output").rglob("result.json")} == stamps
    assert json.loads(Path("output/study/study.json").read_text())["seconds"] is None  # of the whole it is not known


def test_training_on_the_source_is_no_few_shot_figure(fake, monkeypatch):
    """CoOp and ProGrad are trained for cross-dataset by their few-shot script, with another number of shots."""
    monkeypatch.setattr(command, "QUICK", (plan.Setting("few_shot", ("emoji_animals",), (1, 4)),
                                           plan.Setting("xd", ("emoji_animals",), (2,))))
    assert main(["--quick", "--methods", "ProGrad", "--against", "CoOp", "--seeds", "1", "2"]) == 0
    judged = {claim["measure"]: claim for claim in json.loads(Path("output/study/study.json").read_text())["claims"]}
    assert judged["few_shot"]["found"]["pairs"] == 2 and judged["xd"]["found"]["pairs"] == 2


def test_what_is_finished_of_a_study_that_was_stopped(fake, capsys):
    assert main(["--quick", "--methods", "CoOp", "--no-run"]) == 2
    assert capsys.readouterr().err == "error: --no-run: output/study/runs holds no finished run\n"
    assert main(["--quick", "--methods", "CoOp"]) == 0
    before = sorted(Path("output").rglob("result.json"))
    assert main(["--methods", "CoOp", "--no-run", "--seeds", "1", "2"]) == 0
    assert "ZeroshotCLIP above CoOp" in capsys.readouterr().out
    assert sorted(Path("output").rglob("result.json")) == before


def test_a_failed_run_is_named_and_the_rest_tabled(fake, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "train_base/emoji_food/shots_16/IVLP")
    assert main(["--quick", "--methods", "IVLP"]) == 1
    out = capsys.readouterr().out
    assert "failed: IVLP emoji_food 16 shots seed 1 (exit code 3)\n    error: no room on the disk" in out
    assert "IVLP" in out[out.index("Base-to-new"):]


def test_the_whole_study_is_planned_seed_by_seed():
    found = plan.jobs("out", "data", plan.METHODS, [1, 2], plan.SETTINGS, plan.ABLATIONS)
    seeds = [job.name.rpartition("seed ")[2] for job in found if "seed" in job.name]
    assert seeds == sorted(seeds) and {job.method for job in found} >= {ablation.name for ablation in plan.ABLATIONS}
    assert len({job.slug for job in found}) == len(found)
    folders = [folder for job in found for step in job.steps for folder in step.folders]
    assert len(set(folders)) == len(folders), "two runs would share a folder"
    assert "emoji_people" not in " ".join(folders), "it is what the configs were chosen on"
    every = {words for job in found for step in job.steps for words in step.commands[0] if "emoji_" in words}
    assert any("ablation/prograd_lambda_0.5" in words for words in every)


def test_gram_runs_where_it_has_a_file(fake, tmp_path, capsys):
    tmp_path.joinpath("vpt.safetensors").touch()
    assert main(["--dry-run", "--quick", "--meta", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"TRAINER.GRAM.META {tmp_path}/vpt.safetensors" in out and "GRAMVPT" in out
    assert "GRAMCoOp" not in out and "emoji_things --config" not in out.partition("GRAMVPT")[2]


@pytest.mark.parametrize("words, message", [
    (["--methods", "PromptSCR"], "error: --methods PromptSCR: did you mean PromptSRC?"),
    (["--against", "CoOp"], "error: --against CoOp: name one method to compare with it, --methods NAME"),
    (["--methods", "UNIGRAM"], "error: --methods UNIGRAM: it starts from a meta-trained file: give --meta FOLDER that "
                               "holds unigram.safetensors"),
    (["--meta", "none"], "error: --meta none: it holds none of coop.safetensors, cocoop.safetensors, vpt.safetensors, "
                         "unigram.safetensors"),
    (["--jobs", "0"], "error: --jobs 0: give 1 or more")])
def test_bad_input_gets_one_line(fake, capsys, words, message):
    assert main(words) == 2
    assert capsys.readouterr().err.strip() == message
    assert not Path("output").exists()


def test_seeds_of_the_environment(fake, monkeypatch, capsys):
    monkeypatch.setenv("SEEDS", "one")
    assert main([]) == 2
    assert capsys.readouterr().err == "error: SEEDS='one': give whole numbers, SEEDS='1 2 3' say\n"
    monkeypatch.setenv("SEEDS", "4 5")
    assert main(["--methods", "IVLP", "--quick", "--dry-run"]) == 0
    jobs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    assert {line.rpartition("seed ")[2] for line in jobs if "seed " in line} == {"4", "5"}


def forked_step(monkeypatch, tmp_path, act):
    """Fork a step whose only command does ``act``; returns (child, console's path)."""
    monkeypatch.setattr(run, "main", act)
    path = tmp_path / "console"
    with open(path, "ab") as console:
        step = Step(("x",), {}, [["python", "train.py", "--root", "d", "--output-dir", "o"]])
        return forked.start(step, console, {"OF_THE_STEP": "1"}), path


def test_a_fork_has_its_console_environment_and_command(monkeypatch, tmp_path):
    def act(words):
        import sys
        print(words, sys.argv, os.environ["OF_THE_STEP"])
        return 75
    child, console = forked_step(monkeypatch, tmp_path, act)
    assert child.wait() == child.returncode == child.poll() == 75
    words = ["--root", "d", "--output-dir", "o"]
    assert console.read_text() == f"{words} {['train.py', *words]} 1\n"
    assert "OF_THE_STEP" not in os.environ


def test_a_fork_that_raises_leaves_its_traceback(monkeypatch, tmp_path):
    child, console = forked_step(monkeypatch, tmp_path, lambda words: 1 / 0)
    assert child.wait() == 1 and "ZeroDivisionError" in console.read_text()


def test_a_fork_can_be_killed_with_its_group(monkeypatch, tmp_path):
    child, _ = forked_step(monkeypatch, tmp_path, lambda words: time.sleep(60))
    while os.getpgid(child.pid) != child.pid:
        time.sleep(0.01)
    assert child.poll() is None
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_ablation_rows_are_over_what_all_have():
    def rows(base):
        return [made_run("base2new", "a", seed, base + seed, part) for seed in (1, 2) for part in ("base", "new")]
    names = [ablation.name for ablation in plan.ABLATIONS if ablation.method == "ProGrad"]
    held = {"ProGrad": rows(50), names[0]: rows(40)[:2], names[1]: rows(30)}  # one row has seed 1 alone
    assert report.ablation_table(held) == [[names[0], *["41.00"] * 3], [names[1], *["31.00"] * 3],
                                           ["ProGrad", *["51.00"] * 3]]
