"""How many steps a segment has."""

from typing import final

FIRST_SEGMENT_STEPS = 4  # before it is known how long a step takes
# A segment has at most so many times the steps of the longest before it. The rows of the next segment are drawn while a
# device works on one: raised, it would wait for the rows of the first long segment; lowered, more segments are short.
GROWTH = 8
SHORTEST = 1e-9  # seconds of a step; also before it is known


@final
class StepBudget:
    """How many steps take about `seconds`. It decides where a round is cut into segments, which changes no bit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step_seconds = SHORTEST
        self._most = FIRST_SEGMENT_STEPS

    def steps(self, wanted: int) -> int:
        return min(wanted, self._allowed, self._most)

    def following(self, steps: int) -> int:
        """The most steps of the segment behind one of `steps`, as far as is known before that has been taken."""
        return min(self._allowed, max(self._most, GROWTH * steps))

    def took(self, steps: int, seconds: float) -> None:
        self._step_seconds = max(seconds / steps, SHORTEST)
        self._most = max(self._most, GROWTH * steps)

    @property
    def _allowed(self) -> int:
        return max(1, int(self._seconds / self._step_seconds))
