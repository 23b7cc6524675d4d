"""Completion: the script for bash in a real bash, that for zsh in a real zsh, where there is one."""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from processes import LIMIT, environment, python

from psgd import completion
from psgd.core.errors import UsageError
from psgd.core.subcommands import SUBCOMMANDS

BASH = shutil.which("bash")
ZSH = shutil.which("zsh")


class Shell:
    """An interactive shell on a terminal of its own. Ctrl-A and Ctrl-E make the line that was typed an argument."""

    def __init__(self, command: list[str], directory, begin: str) -> None:
        self.ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env=environment(TERM="dumb", PS1="$ ", HISTFILE="/dev/null"),
        )
        os.close(theirs)
        self.send(begin + " && printf '<%s>\\n' ready\n")
        assert self.answer() == "ready"

    def send(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def answer(self, limit: float = LIMIT) -> str:
        """What the next printf writes between < and >, at the beginning of a line."""
        seen, deadline = "", time.monotonic() + limit
        while not (found := re.search(r"^<(.*)>\r?$", seen, re.M)):
            assert select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))[0], seen
            seen += os.read(self.ours, 65536).decode(errors="replace")
        return found[1]

    def completed(self, typed: str) -> str:
        """What stands on the line after the tab key."""
        self.send(f"{typed}\t\x01printf '<%s>\\n' \"\x05\"\n")
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory with a config of the user, a directory, and the scripts."""
    directory = tmp_path_factory.mktemp("completion")
    (directory / "my config.yaml").write_text("workers: 1\n")
    (directory / "runs").mkdir()
    for shell in completion.SHELLS:
        (directory / f"psgd.{shell}").write_text(completion.script(shell))
    return directory


@pytest.fixture(scope="module")
def bash(directory) -> Iterator[Shell]:
    begin = "bind 'set enable-bracketed-paste off' && bind 'set bell-style none' && source ./psgd.bash"
    shell = Shell([str(BASH), "--norc", "--noprofile", "-i"], directory, begin)
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def zsh(directory) -> Iterator[Shell]:
    begin = 'autoload -U compinit && compinit -D && bindkey -e && eval "$(<psgd.zsh)"'
    shell = Shell([str(ZSH), "-f", "-i"], directory, begin)
    yield shell
    shell.close()


CASES = {
    "psgd tra": "psgd train ",
    "psgd train dig": "psgd train digits ",
    "psgd train digits training.ep": "psgd train digits training.epochs=",
    "psgd train digits strategy.name=wei": "psgd train digits strategy.name=weighted-averaging ",
    "psgd train training.epochs=3 strategy.name=gr": "psgd train training.epochs=3 strategy.name=gradient-averaging ",
    "psgd train digits data.path=ru": "psgd train digits data.path=runs/",
    "psgd train my": r"psgd train my\ config.yaml ",
    "psgd train --ov": "psgd train --overwrite ",
    "psgd compare slow": "psgd compare slow_network ",
    "psgd configs own": "psgd configs own_model.py ",
    "psgd plot ru": "psgd plot runs/",
    "psgd export runs --to sk": "psgd export runs --to sklearn ",
    "psgd completion z": "psgd completion zsh ",
}


@pytest.mark.skipif(not BASH, reason="no bash here")
@pytest.mark.parametrize("typed", CASES)
def test_bash_completes(bash, typed):
    assert bash.completed(typed) == CASES[typed]


@pytest.mark.skipif(not ZSH, reason="no zsh here")
@pytest.mark.parametrize("typed", CASES)
def test_zsh_completes(zsh, typed):
    assert zsh.completed(typed).rstrip(" /") == CASES[typed].rstrip(" /")  # zsh takes back a slash or space at the end


def test_the_script_for_zsh_names_everything():
    script = completion.script("zsh")
    assert script.startswith("#compdef psgd")
    for word in (*SUBCOMMANDS, "--resume", "compadd -- batch_loop digits", "training.epochs=", "one_shot"):
        assert word in script, word


def test_without_shtab_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(UsageError, match=r"pip install 'psgd\[completion\]'"):
        completion.script("bash")


def test_the_command_prints_the_script(directory):
    finished = python("-m", "psgd", "completion", "bash")
    assert (finished.code, finished.stdout.rstrip()) == (0, (directory / "psgd.bash").read_text().rstrip())
    wrong = python("-m", "psgd", "completion", "fish")
    assert wrong.code == 2
    assert "python -m psgd completion: error: argument shell: invalid choice: 'fish'" in wrong.stderr
