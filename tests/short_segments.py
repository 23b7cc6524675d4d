"""Segments of three steps at most: reports are exchanged within rounds, and at the same steps in every run."""

import pytest

from psgd.training.steps.step_budget import StepBudget


def at_most_three(budget: StepBudget, wanted: int) -> int:
    return min(wanted, 3)


def cut_segments() -> None:
    """Cut all segments of this process, which is a test's own."""
    StepBudget.steps = at_most_three  # type: ignore[method-assign]


@pytest.fixture
def three_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepBudget, "steps", at_most_three)
