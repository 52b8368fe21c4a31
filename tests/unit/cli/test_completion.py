"""The shell completes verbs, flags, and the names of methods and datasets; the scripts need no torch."""
import shutil
import subprocess

import pytest
from support.paths import ROOT

from trainers.cli.completion import main

BASH = """
source "$1"; shift
words=$(complete -p promptreg); words=${words##*-F }; function=${words%% *}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=1000 COMPREPLY=()
"$function" promptreg "${@: -1}" "${@: -2:1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

# A terminal of zsh's own: each line is typed and its choices are listed, until they hold what follows the line.
ZSH = """
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal "fpath=($1 \\$fpath); autoload -U compinit; compinit -u -D; bindkey '^T' list-choices"
zpty -w terminal "print -n DO; print NE"
zpty -r terminal seen '*DONE*'
shift
for typed offered; do
  zpty -w -n terminal "$typed"$'\\x14'
  zpty -r terminal seen "*$offered*" && print -r -- "$typed: $offered"
  zpty -w -n terminal $'\\x15'
done
zpty -d terminal
"""
LINES = {"promptreg tr": "train or evaluate", "promptreg train CoOp/d": "CoOp/demo",
         "promptreg train CoOp/demo dig": "digits", "promptreg fit --templ": "words that the prompts start from"}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Return a function that writes a shell's script; returns its path."""
    def write(shell):
        path = tmp_path_factory.mktemp("completion") / f"{shell}.sh"
        with pytest.MonkeyPatch.context() as patch:
            printed = []
            patch.setattr("builtins.print", lambda text: printed.append(text))
            assert main([shell]) == 0
        path.write_text(printed[0])
        return path
    return write


@pytest.fixture(scope="module")
def bash(script):
    return script("bash")


@pytest.mark.parametrize("typed, offered", [
    (["fi"], {"fit"}), (["ls", ""], {"methods", "configs", "datasets", "weights", "runs"}),
    (["data", ""], {"fetch", "check", "show"}), (["fit", "--temp"], {"--template"}),
    (["sweep", "--methods", "Prompt"], {"PromptSRC"}), (["train", "--method", "CoOp/de"], {"CoOp/demo"}),
    (["train", "--dataset", "oxford_p"], {"oxford_pets"}), (["completion", ""], {"bash", "zsh"}),
    (["train", "CoOp/de"], {"CoOp/demo"}), (["train", "CoOp/demo", "dig"], {"digits"}),
    (["train", "--config-file", "trai"], {"train.py", "trainers"}), (["data", "fetch", "oxford_p"], {"oxford_pets"}),
    (["fit", "--backbone", "ViT-B/"], {"ViT-B/16", "ViT-B/32"}), (["weights", "RN101"], {"RN101"}),
    (["ls", "configs", "PromptS"], {"PromptSRC"}), (["fit", "--seed", ""], set())])
def test_bash_completes(typed, offered, bash):
    done = subprocess.run(["bash", "-c", BASH, "bash", str(bash), "promptreg", *typed], cwd=ROOT, capture_output=True,
                          text=True)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh is installed")
def test_zsh_completes(script):
    path = script("zsh")
    folder = path.rename(path.with_name("_promptreg")).parent
    words = [word for line in LINES.items() for word in line]
    done = subprocess.run(["zsh", "-f", "-c", ZSH, "zsh", str(folder), *words], capture_output=True, text=True,
                          timeout=30)
    assert done.stdout.splitlines() == [": ".join(line) for line in LINES.items()], done.stderr


def test_zshs_script_is_one_of_the_command(script):
    text = script("zsh").read_text()
    assert text.startswith("#compdef promptreg") and "--template" in text and "oxford_pets" in text


def test_another_shell_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fish"])
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1
