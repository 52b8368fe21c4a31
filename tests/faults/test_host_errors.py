"""An error that the user can mend, in a host's own train.py: one line and our exit code; nobody's hook is disturbed."""
import os
import shutil
import subprocess
import sys

import pytest
from support.paths import ROOT


def run_whole(code, path=ROOT / "dropin"):
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=120,
                          cwd=ROOT / "tests" / "host", stdin=subprocess.DEVNULL,
                          env={**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs Python where ``import promptreg`` sets the hook and, to be quick, does nothing else."""
    folder = tmp_path_factory.mktemp("light")
    shutil.copytree(ROOT / "trainers" / "compat", folder / "promptreg" / "compat",
                    ignore=lambda _, names: {*names} - {"__init__.py", "excepthook.py"})
    (folder / "promptreg" / "utils").mkdir()
    for name in ("errors.py", "utils/__init__.py", "utils/console.py", "utils/atomic.py"):
        shutil.copy(ROOT / "trainers" / name, folder / "promptreg" / name)
    (folder / "promptreg" / "__init__.py").write_text("from .compat import excepthook\nexcepthook.install()\n")

    def run(code, *options, **environment):
        return subprocess.run([sys.executable, *options, "-c", code], text=True, capture_output=True, timeout=60,
                              cwd=folder, stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    return run


RAISES = {"InputError": 2, "SetupError": 3}
BAD = "import promptreg\nfrom promptreg.errors import *\nraise {}('N_CTX must be >= 1,\\ngot 0')"


@pytest.mark.parametrize("name", RAISES)
def test_it_is_one_line_and_the_exit_code(name, run):
    done = run(BAD.format(name))
    assert done.returncode == RAISES[name]
    assert done.stderr.splitlines()[-1] == "error: N_CTX must be >= 1, got 0" and "Traceback" not in done.stderr


def test_what_was_registered_for_the_exit_is_still_done(run):
    done = run("import atexit; atexit.register(print, 'closed')\n" + BAD.format("InputError"))
    assert done.returncode == 2 and done.stdout == "closed\n"


@pytest.mark.parametrize("error", ["ValueError", "KeyError", "KeyboardInterrupt"])
def test_all_other_errors_keep_their_traceback(error, run):
    done = run(f"import promptreg\nraise {error}('x')")
    assert "Traceback" in done.stderr and error in done.stderr.splitlines()[-1]
    assert done.returncode == (1 if error != "KeyboardInterrupt" else -2)


def test_the_traceback_is_to_be_had(run):
    for code, environment in ((BAD, {"PROMPTREG_DEBUG": "1"}), ("import sys; sys.argv += ['--debug']\n" + BAD, {})):
        done = run(code.format("InputError"), **environment)
        assert done.returncode == 1 and "Traceback" in done.stderr
    done = run(BAD.format("InputError"), "-i")  # Python's prompt stays
    assert "Traceback" in done.stderr


HOOK = ("import sys\nbefore = sys.excepthook\n"
        "sys.excepthook = lambda *told: (print('hook', told[0].__name__), before(*told))\n")


def test_a_hook_of_the_hosts_is_told_too_before_us_or_after(run):
    for first, second in ((HOOK, "import promptreg\n"), ("import promptreg\n", HOOK)):
        for error, code in (("from promptreg.errors import InputError\nraise InputError('x')", 2), ("1 / 0", 1)):
            done = run(first + second + error)
            name = "InputError" if code == 2 else "ZeroDivisionError"
            assert done.returncode == code and done.stdout == f"hook {name}\n", (first, error, done)
            assert done.stderr.splitlines()[-1] == ("error: x" if code == 2 else "ZeroDivisionError: division by zero")


def test_pythons_prompt_and_a_second_import_are_left_alone(run):
    code = ("import sys\nimport promptreg\nhook = sys.excepthook\nfrom promptreg.compat import excepthook\n"
            "excepthook.install()\nassert sys.excepthook is hook\nsys.ps1 = '>>> '\n"
            "from promptreg.errors import InputError\ntry:\n    raise InputError('x')\nexcept InputError as error:\n"
            "    hook(InputError, error, error.__traceback__)\nprint('still here')")
    done = run(code)
    assert done.returncode == 0 and done.stdout == "still here\n" and "Traceback" in done.stderr


def test_our_own_checkout_sets_no_hook_and_promptreg_does_before_all_else():
    text = (ROOT / "trainers" / "__init__.py").read_text()
    assert text.index('if __name__ != "trainers":') < text.index("excepthook") < text.index("for part in PARTS")
    assert sys.modules.get("trainers") is None or not hasattr(sys.excepthook, "of_promptreg")


def test_a_host_that_asks_for_the_impossible_gets_one_line(tmp_path):
    """The whole of it: a trainer of ours built by the host, and a number of vectors that cannot be."""
    done = run_whole(f"""
import promptreg
promptreg.register()
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
cfg = get_cfg_default()
cfg.merge_from_file({str(ROOT / "configs/trainers/CoOp/demo.yaml")!r})
cfg.merge_from_list(["DATASET.ROOT", {str(tmp_path)!r}, "TRAINER.NAME", "CoOp", "DATASET.NAME", "Digits", "SEED", 1,
                     "DATASET.NUM_SHOTS", 1, "TRAINER.COOP.N_CTX", 0, "TRAINER.COOP.CTX_INIT", ""])
build_trainer(cfg)
""")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1] == "error: TRAINER.COOP.N_CTX is 0: it must be at least 1"
