"""A config as a file, and what psgd says is wrong with one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from psgd.config.resolve import resolve
from psgd.core.errors import UsageError

WriteFile = Callable[[str], str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteFile:
    """Write `a.yaml` and return its name, which errors must show."""
    monkeypatch.chdir(tmp_path)

    def write_file(text: str) -> str:
        Path("a.yaml").write_text(text, encoding="utf-8")
        return "a.yaml"

    return write_file


def problems(path: str | None, *overrides: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        resolve(path, list(overrides))
    assert "pydantic" not in str(caught.value)
    assert caught.value.code == 2
    return str(caught.value).split("\n")


def only_problem(path: str | None, *overrides: str) -> str:
    (problem,) = problems(path, *overrides)
    return problem
