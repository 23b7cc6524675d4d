"""How many steps a segment has."""

from typing import final

FIRST_SEGMENT_STEPS = 4  # before it is known how long a step takes


@final
class StepBudget:
    """How many steps take about `seconds`. It decides where a round is cut into segments, which changes no bit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step_seconds = 0.0

    def steps(self, wanted: int) -> int:
        allowed = max(1, int(self._seconds / self._step_seconds)) if self._step_seconds else FIRST_SEGMENT_STEPS
        return min(wanted, allowed)

    def took(self, steps: int, seconds: float) -> None:
        self._step_seconds = max(seconds / steps, 1e-9)
