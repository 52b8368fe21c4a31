"""A sweep finishes what can be finished, tells what cannot, goes on where it left off, and dies without a trace."""
import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from support.paths import ROOT

from trainers.cli.sweep import main
from trainers.config.build import setup_cfg
from trainers.config.flags import parser as train_parser
from trainers.sweep import command, guard, pool, progress
from trainers.sweep.plan import plan
from trainers.sweep.pool import FAILED, FINISHED, WAITING, Pool
from trainers.sweep.reaper import ChildReaper
from trainers.sweep.state import SweepState

EIGHTEEN = ["--methods", "CoOp", "ProGrad", "PromptSRC", "--setting", "few_shot", "--datasets", "digits", "--shots",
            "1", "2", "--cfg", "demo", "--jobs", "2"]


@pytest.fixture(autouse=True)
def fake(tmp_path, monkeypatch):
    """Let scripts run tests/support/fake_train.py, in an empty folder."""
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
case "$2" in script) exec "{sys.executable}" "$@" ;; esac
exec "{sys.executable}" -S -E "{ROOT}/tests/support/fake_train.py" "$@"
""")
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "OUTPUT", "CFG", "SHOTS", "SEEDS", "OPTS", "LOADEP", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHON", str(python))
    return python


def logs(output="output"):
    """Return {output folder: lines of its log}: one line for each time the run was started."""
    return {str(path.parent): path.read_text().splitlines() for path in Path(output).rglob("log.txt")}


def test_one_killed_and_one_failed(monkeypatch, capsys):
    monkeypatch.setenv("FAKE_KILL", "ProGrad/demo_2shots/nctx16_cscFalse_ctpend/seed2")
    monkeypatch.setenv("FAKE_FAIL", "PromptSRC/demo_1shots/seed3")
    assert main(EIGHTEEN) == 1
    out = capsys.readouterr().out
    assert "failed: ProGrad digits 2 shots seed 2 (killed by signal 9)" in out
    assert "failed: PromptSRC digits 1 shots seed 3 (exit code 1)\n    error: no room on the disk: free some\n" in out
    assert "again: CFG=demo SEEDS=3 bash scripts/promptsrc/few_shot.sh digits 1" in out
    first = logs()
    assert len(first) == 18 and len(list(Path("output").rglob("result.json"))) == 16

    assert main(EIGHTEEN) == 0
    out = capsys.readouterr().out
    assert "18 jobs, 16 finished already" in out and "failed" not in out
    again = {folder for folder, lines in logs().items() if len(lines) > len(first[folder])}
    assert len(again) == 2 and all("seed2" in f and "ProGrad" in f or "seed3" in f and "PromptSRC" in f for f in again)
    table = out[out.index("Few-shot"):]
    assert "–" not in table and table.count("52.00 ± 0.82") == 6


def test_only_what_failed(monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "CoOp/demo_1shots/nctx16_cscFalse_ctpend/seed1")
    few = ["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--shots", "1", "--cfg", "demo"]
    assert main([*few, "--seeds", "1"]) == 1
    assert main([*few, "--seeds", "1", "2", "--retry-failed"]) == 0
    assert sorted(map(len, logs().values())) == [2], "seed 2 has not failed: it has not run"


def test_what_was_killed_behind_its_result_has_not_failed(monkeypatch, capsys):
    monkeypatch.setenv("FAKE_LATE", "train_base/digits/shots_16/PromptSRC/demo/seed1")
    assert main(["--methods", "PromptSRC", "--setting", "base2new", "--datasets", "digits", "--cfg", "demo",
                 "--seeds", "1", "2"]) == 0
    assert "failed" not in capsys.readouterr().out
    assert len(list(Path("output").rglob("result.json"))) == 4, "what evaluates it has run, too"


def test_what_a_signal_interrupted_has_not_failed(monkeypatch, capsys):
    monkeypatch.setenv("FAKE_STOP", "CoOp/demo_1shots/nctx16_cscFalse_ctpend/seed1")
    few = ["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--shots", "1", "--cfg", "demo",
           "--seeds", "1", "2"]
    assert main(few) == 75
    out = capsys.readouterr().out
    assert "interrupted: CoOp digits 1 shots seed 1: the same command goes on with it" in out and "failed:" not in out
    assert not list(Path("output/.sweep").glob("failed/*"))
    assert main(few) == 0
    assert sorted(map(len, logs().values())) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_runs_may_save_when_the_sweep_is_stopped(number, monkeypatch):
    """The script of a run dies of SIGTERM at once; the run itself is given the time to save."""
    monkeypatch.setenv("FAKE_SLEEP", "100")
    monkeypatch.setenv("FAKE_SAVE", "1")
    sweep = os.fork()
    if sweep == 0:
        os._exit(main(EIGHTEEN))
    running = pids(2)
    time.sleep(0.5)
    os.kill(sweep, number)
    os.waitpid(sweep, 0)
    assert_gone(running)
    assert len(list(Path("output").rglob("saved"))) == 2


def test_a_test_waits_for_its_training(monkeypatch):
    monkeypatch.setenv("FAKE_FAIL", "train_base/digits/shots_16/PromptSRC/demo/seed1")
    args = ["--methods", "PromptSRC", "ZeroshotCLIP", "--setting", "base2new", "--datasets", "digits", "--seeds", "1",
            "2", "--cfg", "demo", "--jobs", "3"]
    assert main(args) == 1
    assert not Path("output/base2new/test_new/digits/shots_16/PromptSRC/demo/seed1").exists()
    assert main(args) == 0
    assert len(list(Path("output").rglob("result.json"))) == 8


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_gone(running):
    """Give processes 15 seconds to end."""
    deadline = time.time() + 15
    while any(map(alive, running)) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, running))


def pids(count):
    """Wait until ``count`` runs are at work, which takes a busy machine a while; return their process ids."""
    for _ in range(1200):
        found = [int(line.split()[1]) for lines in logs().values() for line in lines]
        if len(found) == count:
            return found
        time.sleep(0.1)
    raise AssertionError("the runs did not start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_killing_the_sweep_leaves_nothing(number, monkeypatch):
    monkeypatch.setenv("FAKE_SLEEP", "100")
    sweep = os.fork()
    if sweep == 0:
        os._exit(main(EIGHTEEN))
    running = pids(2)
    os.kill(sweep, number)
    _, status = os.waitpid(sweep, 0)
    assert os.waitstatus_to_exitcode(status) == (-9 if number == signal.SIGKILL else 130)
    assert_gone(running)
    assert not list(Path("output").rglob("result.json*"))
    monkeypatch.setenv("FAKE_SLEEP", "0")
    assert main(EIGHTEEN) == 0
    assert sorted(map(len, logs().values())) == [1] * 16 + [2] * 2, "the two that were cut off went on"


def guard_of(sweep, but=None):
    """Wait for the guard of the sweep's process, another than ``but``; return its process id."""
    for _ in range(300):
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (b"sweep/guard.py" in (path / "cmdline").read_bytes() and int(path.name) != but
                        and int((path / "stat").read_text().rpartition(")")[2].split()[1]) == sweep):
                    return int(path.name)
        time.sleep(0.1)
    raise AssertionError("there is no guard")


def test_what_is_killed_is_gone_before_it_is_tidied_up():
    """A large process takes a while to die; its lock would pass for that of a run at work."""
    process = subprocess.Popen(["sleep", "100"], start_new_session=True)
    guard.finish([process.pid], process.poll)
    assert process.returncode == -signal.SIGKILL and not guard.left([process.pid])


def test_a_guard_that_is_killed_has_a_successor(monkeypatch):
    """The kernel may take it when memory is short; the sweep once ended there and said that all was done."""
    monkeypatch.setenv("FAKE_SLEEP", "100")
    sweep = os.fork()
    if sweep == 0:
        os._exit(main(EIGHTEEN))
    running = pids(2)
    first = guard_of(sweep)
    os.kill(first, signal.SIGKILL)
    guard_of(sweep, first)
    time.sleep(1)  # it has read what it is to guard
    os.kill(sweep, signal.SIGKILL)
    os.waitpid(sweep, 0)
    assert_gone(running)


def test_jobs_begin_and_end_whatever_becomes_of_the_guard(monkeypatch, capsys):
    started = ChildReaper.renew
    monkeypatch.setattr(ChildReaper, "renew", lambda reaper: started(reaper) or (
        reaper.process.kill(), reaper.process.wait()))
    assert main(EIGHTEEN) == 0
    assert len(list(Path("output").rglob("result.json"))) == 18
    monkeypatch.setattr(ChildReaper, "renew", lambda reaper: None)  # there was no memory to start it
    monkeypatch.setenv("OUTPUT", "other")
    assert main(EIGHTEEN) == 0
    assert len(list(Path("other").rglob("result.json"))) == 18


def test_a_job_that_cannot_be_started_is_listed(monkeypatch, capsys):
    true, refused = pool.subprocess.Popen, []

    def refuse(argv, *args, **kwargs):
        if argv[0] == "bash" and kwargs.get("start_new_session") and not refused:
            refused.append(argv)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return true(argv, *args, **kwargs)
    monkeypatch.setattr(pool.subprocess, "Popen", refuse)
    assert main(EIGHTEEN) == 1
    out = capsys.readouterr().out
    assert ("failed: CoOp digits 1 shots seed 1 (exit code 3)\n    error: Cannot allocate memory: free some memory and "
            "run the same command again\n") in out
    assert len(list(Path("output").rglob("result.json"))) == 17
    assert main(EIGHTEEN) == 0


def test_a_reader_that_has_gone_stops_no_job(monkeypatch):
    """``python -m trainers.sweep … | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(EIGHTEEN) == 0
    assert len(list(Path("output").rglob("result.json"))) == 18


def test_jobs_with_other_folders_have_other_books():
    """Else base-to-new and few-shot with 4 shots would share a lock, a console and a note of failure."""
    made = (("base2new", "demo"), ("few_shot", "demo"), ("few_shot", "rn50"), ("few_shot", "demo"))
    jobs = [plan(["CoOp"], setting, ["digits"], [1], [4], {"CFG": cfg})[0] for setting, cfg in made]
    assert len({job.name for job in jobs}) == 1 and len({job.slug for job in jobs}) == 3
    assert jobs[1].slug == jobs[3].slug


def test_what_is_finished_with_another_config_is_refused(monkeypatch, capsys):
    """Else the sweep would print its figures under the config that was asked for."""
    few = ["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--shots", "1", "--cfg", "demo",
           "--seeds", "1"]
    assert main(few) == 0
    path, = Path("output").rglob("result.json")
    words = plan(["CoOp"], "few_shot", ["digits"], [1], [1], {"CFG": "demo"})[0].steps[0].commands[0]
    cfg, _ = setup_cfg(train_parser().parse_args(words[words.index("--root"):]))
    content = {**json.loads(path.read_text()), "config": cfg.dump(), "command": words[1:]}
    path.write_text(json.dumps(content))
    assert main(few) == 0
    capsys.readouterr()
    assert main([*few, "--opts", "OPTIM.LR", "0.1"]) == 2
    said = capsys.readouterr().err
    assert "holds a finished run with another config (OPTIM.LR is 0.002 there, 0.1 here)" in said
    assert said.count("\n") == 1 and json.loads(path.read_text()) == content


def test_two_sweeps_at_once_share_no_job(monkeypatch, capsys):
    monkeypatch.setenv("FAKE_SLEEP", "2")
    jobs = plan(["CoOp"], "few_shot", ["digits"], [1, 2], [1], {"CFG": "demo"})
    held = SweepState("output").lock(jobs[0])
    assert main(["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--seeds", "1", "2", "--shots",
                 "1", "--cfg", "demo"]) == 1
    held.close()
    assert "left out: CoOp digits 1 shots seed 1: another sweep is running it" in capsys.readouterr().out
    assert len(logs()) == 1


def test_jobs_that_share_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("FAKE_SLEEP", "1")
    assert main([*EIGHTEEN[:-2], "--per-gpu", "2", "--seeds", "1", "--methods", "CoOp", "PromptSRC"]) == 0
    assert sorted(line.split()[-1] for lines in logs().values() for line in lines) == ["3", "3", "5", "5"]


ONE = ["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--shots", "1", "--seeds", "1"]


def test_any_output_folder(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    output = "a\tö 'b"
    assert main([*ONE, "--cfg", "demo", "--output", output]) == 0
    assert list(logs(output)) == [f"{output}/digits/CoOp/demo_1shots/nctx16_cscFalse_ctpend/seed1"]


def test_values_with_blanks(monkeypatch, capsys):
    monkeypatch.setenv("OPTS", "OPTIM.LR 0.1\nSEED 2")
    monkeypatch.setenv("FAKE_FAIL", "seed1")
    assert main([*ONE, "--cfg", "demo", "--opts", "INPUT.SIZE", "(32, 32)", "A.B", ""]) == 1
    assert "bash scripts/coop/main.sh digits 1 -- INPUT.SIZE '(32, 32)' A.B ''\n" in capsys.readouterr().out
    assert main([*ONE, "--cfg", "demo", "--opts", "INPUT.SIZE", "(32, 32)", "A.B", ""]) == 0
    result, = Path("output").rglob("result.json")
    words = json.loads(result.read_text())["command"]
    assert words[-8:] == ["OPTIM.LR", "0.1", "SEED", "2", "INPUT.SIZE", "(32, 32)", "A.B", ""]


def test_a_dry_run_left_in_the_environment_is_none_of_the_jobs(monkeypatch):
    monkeypatch.setenv("DRY_RUN", "1")
    assert main([*ONE, "--cfg", "demo"]) == 0
    assert len(logs()) == 1


def test_dry_run_prints_and_runs_nothing(capsys):
    assert main(["--methods", "PromptSRC", "--setting", "base2new", "--datasets", "dtd", "--seeds", "1",
                 "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "\nbash scripts/promptsrc/base2new_train.sh dtd 1\n" in out and "--load-epoch 20 --eval-only" in out
    assert not Path("output").exists()


@pytest.mark.parametrize("wrong,words", [
    (["--methods", "PromtSRC"], "did you mean PromptSRC?"), (["--datasets", "euroset"], "did you mean eurosat?"),
    (["--jobs", "0"], "--jobs 0"), (["--shots", "4", "-4"], "--shots -4: give 1 or more"),
    (["--source", "dgits"], "--source dgits: did you mean digits?"),
    (["--opts", "OPTIM.LR", "1", "INPUT.SIZE"], "--opts OPTIM.LR 1 INPUT.SIZE: the last key has no value"),
    (["--output", "python"], "python is no folder"), (["--output", "python/below"], "python is no folder"),
    (["--cfg", "dmo"], f"CoOp: there is no config file {ROOT}/configs/trainers/CoOp/dmo.yaml")])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_wrong_flags_are_one_line(wrong, words, dry, capsys):
    assert main([*EIGHTEEN, *wrong, *dry]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and out == ""
    assert not Path("output").exists()


@pytest.mark.parametrize("name,value,words", [("PATH", "/nowhere", "there is no bash"),
                                              ("PYTHON", "/nonsense", "there is no PYTHON /nonsense")])
def test_a_missing_program_is_one_line(name, value, words, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert main(EIGHTEEN) == 3
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_figures_are_whole_however_narrow_the_console(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "10")
    assert main([*ONE, "--cfg", "demo"]) == 0
    assert capsys.readouterr().out.count(" 51.00 ") == 1


def test_live_table(monkeypatch):
    monkeypatch.setenv("FAKE_SLEEP", "1.5")
    monkeypatch.setenv("FAKE_FAIL", "PromptSRC/demo_1shots/seed1")
    jobs = plan(["CoOp", "PromptSRC"], "few_shot", ["digits"], [1], [1, 2], {"CFG": "demo"})
    seen = []

    def watch(pool):
        console = Console(record=True, width=110, file=open(os.devnull, "w"))
        console.print(progress.view(pool, time.time() - 5))
        seen.append(console.export_text())
    Pool(jobs, SweepState("output"), 2).run(watch)
    during = next(text for text in seen if "CoOp digits 1 shots seed 1" in text and " 22%" in text)
    assert "waiting" in during and "coop/main.sh" in during and "0/4" in during
    assert "4/4" in seen[-1] and "finished" in seen[-1]
    states = seen[-1].splitlines()
    assert next(line for line in states if line.startswith("PromptSRC")).split() == ["PromptSRC", "1", "·", "·", "1"]


@pytest.mark.parametrize("width", [80, 60])
def test_the_live_table_keeps_to_a_line_a_row(width, monkeypatch):
    monkeypatch.setenv("FAKE_SLEEP", "1.5")
    jobs = plan(["CoOp"], "few_shot", ["stanford_cars", "dtd"], [1], [16], {"CFG": "demo"})
    for job in jobs:
        job.name += " with a name that is far too long for a terminal of eighty columns, and goes on"
    seen = []

    def watch(pool):
        console = Console(record=True, width=width, file=open(os.devnull, "w"), color_system="truecolor",
                          force_terminal=True)
        console.print(progress.view(pool, time.time() - 5))
        seen.append((console.export_text(clear=False), console.export_text(styles=True)))
    Pool(jobs, SweepState("output"), 2).run(watch)
    running = [text for text, _ in seen if text.count("coop/") == 2]
    assert running and all(len(text.splitlines()) == 7 for text in running), "2 rows of states, 2 of jobs, 1 of all"
    assert all(len(line) <= width for text in running for line in text.splitlines())
    assert not any("100%" in text for text in running), "what is evaluated is not done"
    colours = "".join(styled for text, styled in seen if text in running)
    assert "\x1b[1;31m" not in colours and "249;38;114" not in colours, "nothing has failed: no red"


def test_failures_are_told_once_a_reason(monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "CoOp")
    assert main(["--methods", "CoOp", "--setting", "few_shot", "--datasets", "digits", "--cfg", "demo", "--shots", "1",
                 "2", "--seeds", "1", "2", "3", "--jobs", "2"]) == 1
    out = capsys.readouterr().out
    assert out.count("\nfailed: ") == out.count("    again: ") == 1 and "failed: 6 jobs (exit code 1)" in out
    assert out.count("error: no room on the disk: free some") == 1
    assert all(f"CoOp digits {k} shots seed {seed}" in out for k in (1, 2) for seed in (1, 2, 3))


@pytest.mark.parametrize("one, other, same", [
    ("error: /a/b/seed1: no image", "error: /c/seed2: no image", True),
    ("loss is nan in batch 3", "loss is nan in batch 10", True),
    ("error: no disk", "error: no memory", False)])
def test_what_makes_failures_one_reason(one, other, same):
    reasons = {command.reason({"code": 1, "lines": ["before", line]}) for line in (one, other)}
    assert len(reasons) == (1 if same else 2)
    assert command.reason({"code": 2, "lines": [one]}) != command.reason({"code": 1, "lines": [one]})


def test_time_left():
    jobs = plan(["CoOp"], "few_shot", ["digits"], [1, 2, 3], [1], {"CFG": "demo"})
    two = Pool(jobs, SweepState("output"), 2)
    assert progress.seconds_left(two) is None
    two.queue.pop(0)
    two.states[jobs[0].slug], two.seconds[jobs[0].slug] = FINISHED, 10.0
    assert progress.seconds_left(two) == 10.0  # two of 10 s, two at a time
    two.states[jobs[0].slug] = FAILED
    assert progress.seconds_left(two) is None and two.states[jobs[1].slug] == WAITING


# ---- SLURM, with stand-ins for its command line tools

SBATCH = """#!/bin/bash
# Starts a job, or all elements of an array, at once; prints what sbatch prints.
file=${@: -1}
cp "$file" "$SLURM_STAND_IN/batch.sh"
rm -f "$SLURM_STAND_IN"/state* "$SLURM_STAND_IN"/pid* "$SLURM_STAND_IN"/comment*
export SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_JOB_NODELIST=node1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
start() {  # ID
  sed -n 's/^#SBATCH --comment=//p' "$file" > "$SLURM_STAND_IN/comment$1"
  setsid bash -c 'echo $$ > "$SLURM_STAND_IN/pid$0"; echo RUNNING > "$SLURM_STAND_IN/state$0"
    bash "$1" && echo COMPLETED > "$SLURM_STAND_IN/state$0" || echo FAILED > "$SLURM_STAND_IN/state$0"' \\
    "$1" "$file" > "$SLURM_STAND_IN/out$1" 2>&1 &
}
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$file")
if [ -z "$last" ]; then SLURM_JOB_ID=70 start 70; fi
for n in $([ -z "$last" ] || seq 0 "$last"); do
  SLURM_JOB_ID=$((71 + n)) SLURM_ARRAY_JOB_ID=70 SLURM_ARRAY_TASK_ID=$n start "70_$n"
done
echo "Submitted batch job 70"
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do case $1 in --output | --error) shift 2 ;; *) shift ;; esac; done
exec "$@"
"""
SQUEUE = """#!/bin/bash
for file in "$SLURM_STAND_IN"/state*; do
  [ -f "$file" ] && echo "${file##*state}|$(cat "$file")|1-02:00:00|$(cat "${file/state/comment}" 2> /dev/null)"
done
exit 0
"""
SCANCEL = """#!/bin/bash
for file in "$SLURM_STAND_IN"/pid*; do kill -TERM -- "-$(cat "$file")"; echo CANCELLED > "${file/pid/state}"; done
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed (the extra [cluster])")
    from trainers.sweep import slurm
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scancel": SCANCEL, "squeue": SQUEUE}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STAND_IN", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(slurm, "ASK", 0.3)
    monkeypatch.setattr(slurm, "LOOK", 0.1)
    return folder


ARRAY = ["--methods", "CoOp", "PromptSRC", "--setting", "few_shot", "--datasets", "digits", "--shots", "1", "--seeds",
         "1", "2", "--cfg", "demo", "--executor", "slurm", "--per-gpu", "2", "--jobs", "7", "--time", "90",
         "--partition", "gpu", "--slurm", "qos=long"]


def test_slurm_array(slurm, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAIL", "PromptSRC/demo_1shots/seed2")
    assert main(ARRAY) == 1
    out = capsys.readouterr().out
    assert "submitted array 70: 2 elements, 4 jobs" in out
    assert "failed: PromptSRC digits 1 shots seed 2 (exit code 1)\n    error: no room on the disk: free some" in out
    batch = (slurm / "batch.sh").read_text().splitlines()
    for line in ("#SBATCH --array=0-1%2", "#SBATCH --gpus-per-node=1", "#SBATCH --time=90", "#SBATCH --partition=gpu",
                 "#SBATCH --qos=long", "#SBATCH --job-name=promptreg", "#SBATCH --cpus-per-task=8",
                 "#SBATCH --mem=32GB"):
        assert line in batch, (line, batch)
    assert len(list(Path("output").rglob("result.json"))) == 3
    assert main(ARRAY) == 0
    assert len(list(Path("output").rglob("result.json"))) == 4


def test_sbatch_that_refuses(slurm, capsys):
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    assert main(ARRAY) == 3
    err = capsys.readouterr().err
    assert err.splitlines()[1:] == ["error: sbatch refuses: sbatch: error: invalid partition specified: gpu"]
    assert not list(Path("output/.sweep/slurm").glob("promptreg-*"))


def test_slurm_array_is_cancelled(slurm, monkeypatch):
    monkeypatch.setenv("FAKE_SLEEP", "100")
    sweep = os.fork()
    if sweep == 0:
        os._exit(main(ARRAY))
    running = pids(4)
    os.kill(sweep, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(sweep, 0)[1]) == 130
    assert_gone(running)


def test_no_slurm_here_is_one_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="submitit is not installed (the extra [cluster])")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "bash").symlink_to(shutil.which("bash"))
    monkeypatch.setenv("PATH", str(programs))
    assert main(ARRAY) == 3
    err = capsys.readouterr().err
    assert "there is no srun here" in err and err.count("\n") == 1


# ---- what is missing is said before the first job

def test_all_datasets_without_data_start_nothing(capsys):
    assert main(["--methods", "PromptSRC", "--setting", "base2new", "--datasets", "all", "--cfg", "demo"]) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[0] == "data:" and lines[-1] == "error: no job was started"
    assert len(lines) == 13 and all(line.startswith("  ") and "get it with: " in line for line in lines[1:-1])
    assert not Path("output").exists()


def test_skip_missing_runs_what_can(capsys):
    given = ["--methods", "CoOp", "--setting", "few_shot", "--datasets", "dtd", "digits", "--shots", "1", "--cfg",
             "demo", "--seeds", "1", "2"]
    assert main(given) == 2
    err = capsys.readouterr().err
    assert "--skip-missing runs the jobs that lack nothing" in err and not Path("output").exists()
    assert main([*given, "--skip-missing"]) == 0
    err = capsys.readouterr().err
    assert "DescribableTextures: no folder" in err and "left out: 2 of 4 jobs" in err
    assert len(list(Path("output/digits").rglob("result.json"))) == len(logs()) == 2


def test_missing_weights_and_packages(fake, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(fake.parent))
    weights = [*EIGHTEEN, "--opts", "MODEL.BACKBONE.NAME", "./gone.pt"]
    assert main(weights) == 2
    err = capsys.readouterr().err
    assert err.startswith("weights:\n") and err.count("gone.pt") >= 1 and err.count("\n") == 3
    fake.write_text(fake.read_text().replace("exec", 'if [ "$1" = -c ]; then echo torch yacs; exit; fi\nexec'))
    assert main(EIGHTEEN) == 3
    assert f"{fake} has no torch, yacs" in capsys.readouterr().err
    assert not Path("output").exists()
