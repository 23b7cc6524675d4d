"""The command psgd.train as tests call it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Finished, python

from psgd.jobs.launch.command import main

SHORT = ("training.epochs=2", "--quiet")


def command() -> list[str]:
    return [sys.executable, "-m", "psgd.train"]


def train(*arguments: str, **variables: str) -> Finished:
    return python("-m", "psgd.train", *map(str, arguments), **variables)


def refused(finished: Finished, code: int, *words: str) -> None:
    """Check that it ended with `code`, each of `words` once on stderr, no traceback and no stdout."""
    assert finished.code == code, finished
    assert "Traceback" not in finished.stderr
    for word in words:
        assert finished.stderr.count(word) == 1, (word, finished.stderr)
    assert finished.stdout == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The directory of a finished run."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    finished = train(*SHORT, "--output", directory)
    assert finished.code == 0, finished
    return directory


@pytest.fixture
def call(capfd) -> Callable[..., Finished]:
    """The command as a function call in this process: a usage error costs no start of Python."""

    def call(*arguments: object) -> Finished:
        began = time.monotonic()
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Finished(code, *capfd.readouterr(), time.monotonic() - began)

    return call
