"""The result parser prints what CoOp's does, and says in one line what is missing."""
import json
import subprocess
import sys

import pytest
from support.paths import ROOT

import parse_test_res

GOLDEN = json.loads((ROOT / "tests" / "golden" / "parse_test_res.json").read_text())


def log_of(seed, end="Finish training"):
    """Return the recorded log with the accuracy of a seed; the recorded F1 moves along with it."""
    shift = GOLDEN["accuracy_by_seed"][seed] - GOLDEN["accuracy_by_seed"]["1"]
    text = GOLDEN["log"].replace("accuracy: 91.8%", f"accuracy: {91.8 + shift:.1f}%")
    return text.replace("macro_f1: 90.8%", f"macro_f1: {90.8 + shift:.1f}%").replace("Finish training", end)


def write_runs(directory, **kwargs):
    for seed in GOLDEN["accuracy_by_seed"]:
        run = directory / f"seed{seed}"
        run.mkdir(parents=True)
        (run / "log.txt").write_text(log_of(seed, **kwargs))


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "LOGS"


@pytest.mark.parametrize("end", ["Finish training", "Finished training"])
@pytest.mark.parametrize("run", GOLDEN["runs"])
def test_prints_what_is_recorded(run, end, logs, capsys):
    args = GOLDEN["runs"][run]["args"]
    for directory in [logs / "exp-1", logs / "exp-2"] if "--multi-exp" in args else [logs]:
        write_runs(directory, end=end)
    assert parse_test_res.main([str(logs), *args]) == 0
    output = capsys.readouterr()
    assert output.out.replace(str(logs), "LOGS") == GOLDEN["runs"][run]["stdout"]
    assert output.err == ""


def test_log_of_evaluation_alone_needs_its_flag(logs, capsys):
    write_runs(logs, end="Evaluating")
    assert parse_test_res.main([str(logs)]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert "seed1/log.txt" in output.err and "--test-log" in output.err
    assert parse_test_res.main([str(logs), "--test-log"]) == 0
    assert "* accuracy: 92.00% +- 0.16%" in capsys.readouterr().out


def test_result_before_the_end_of_training_does_not_count(logs, capsys):
    write_runs(logs)
    log = logs / "seed1" / "log.txt"
    log.write_text("=> result\n* accuracy: 5.0%\n" + log.read_text() + "=> result\n* accuracy: 90.0%\n")
    parse_test_res.main([str(logs)])
    assert "seed1/log.txt. accuracy: 90.00%" in capsys.readouterr().out
    log.write_text("=> result\n* accuracy: 5.0%\nepoch [1/2]\n")
    assert parse_test_res.main([str(logs)]) == 0
    output = capsys.readouterr()
    assert "* accuracy: 92.10% +- 0.10%" in output.out
    assert output.err.startswith("left out: ") and "seed1/log.txt" in output.err


@pytest.mark.parametrize("args", [[], ["--test-log"], ["--multi-exp"]])
@pytest.mark.parametrize("state", ["missing", "empty", "no log", "no result", "other keyword"])
def test_nothing_to_read_is_one_line(state, args, logs, capsys):
    experiment = logs / "exp" if args == ["--multi-exp"] else logs
    if state == "empty":
        experiment.mkdir(parents=True)
    elif state == "no log":
        (experiment / "seed1").mkdir(parents=True)
    elif state == "no result":
        (experiment / "seed1").mkdir(parents=True)
        (experiment / "seed1" / "log.txt").write_text("epoch [1/2] batch [5/5] loss 1.0\n")
    elif state == "other keyword":
        write_runs(experiment)
        args = [*args, "--keyword", "recall"]
    assert parse_test_res.main([str(logs), *args]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ") and output.err.count("\n") == 1
    assert str(logs) in output.err


def test_result_json_is_read_before_the_log(logs, capsys):
    write_runs(logs)
    figures = {"accuracy": 90.126, "macro_f1": 80.0}
    (logs / "seed2" / "result.json").write_text(json.dumps({"results": {"test": figures}}))
    (logs / "seed4").mkdir()
    (logs / "seed4" / "result.json").write_text(json.dumps({"results": {"test": {"accuracy": 70.0}}}))
    (logs / "seed5").mkdir()
    (logs / "seed5" / "result.json").write_text("{")
    assert parse_test_res.main([str(logs)]) == 0
    output = capsys.readouterr()
    assert "seed1/log.txt. accuracy: 91.80%. \n" in output.out
    assert "seed2/result.json. accuracy: 90.13%. \n" in output.out
    assert "* accuracy: 86.03% +- 9.29%" in output.out
    assert "left out: " in output.err and "seed5/result.json is not a whole result" in output.err
    assert parse_test_res.main([str(logs), "--keyword", "error"]) == 0
    assert "seed4/result.json. error: 30.00%" in capsys.readouterr().out


@pytest.mark.parametrize("value", [250, -1, 1e9])
@pytest.mark.parametrize("name", ["log.txt", "result.json"])
def test_what_is_no_percentage_is_refused(name, value, logs, capsys):
    """Whatever else is there: somebody's hand has been in the file."""
    write_runs(logs)
    (logs / "seed4").mkdir()
    content = {"log.txt": f"Finish training\n=> result\n* accuracy: {value}%\n",
               "result.json": json.dumps({"results": {"test": {"accuracy": value}}})}
    (logs / "seed4" / name).write_text(content[name])
    assert parse_test_res.main([str(logs)]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert f"seed4/{name} holds {float(value) if name == 'log.txt' else value!r} as its accuracy" in output.err


def test_reader_that_has_seen_enough_is_no_error(logs):
    write_runs(logs)
    for n in range(400):  # more than a pipe holds
        (logs / f"run{n}").symlink_to(logs / "seed1")
    process = subprocess.Popen([sys.executable, parse_test_res.__file__, logs], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0


@pytest.mark.parametrize("args", [[], ["--bogus", "LOGS"], ["LOGS", "--keyword"]])
def test_wrong_flags_are_one_line(args, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_test_res.main(args)
    output = capsys.readouterr()
    assert stop.value.code == 2 and output.out == ""
    assert output.err.startswith("error: ") and output.err.count("\n") == 1


def test_means_are_numpys_to_the_last_digit(logs, capsys):
    """CoOp's are: where a mean lies between two hundredths, an exact sum and numpy's may go different ways."""
    for n, value in enumerate([61.6, 64.9, 49.2, 93.2]):
        (logs / f"seed{n}").mkdir(parents=True)
        (logs / f"seed{n}" / "log.txt").write_text(f"Finish training\n=> result\n* accuracy: {value}%\n")
    assert parse_test_res.main([str(logs)]) == 0
    assert "* accuracy: 67.22% +- 16.10%" in capsys.readouterr().out
