"""The time that a training takes, by part."""

from typing import final

from psgd.core.clock import Clock

TRAINING_PARTS = ("compute", "wait", "combine")  # local steps, exchanges of reports, combinations
PARTS = (*TRAINING_PARTS, "other")  # "other": start-up, evaluation, checkpoints


@final
class Stopwatch:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_lap = clock()
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def lap(self, part: str) -> None:
        """Count the time since the last lap to `part`."""
        now = self._clock()
        self.seconds[part] += now - self._last_lap
        self._last_lap = now

    @property
    def train_seconds(self) -> float:
        """Training alone: without start-up, evaluation and checkpoints."""
        return train_seconds(self.seconds)

    def restore(self, seconds: dict[str, float]) -> None:
        self.seconds = dict(seconds)


def train_seconds(seconds: dict[str, float]) -> float:
    return seconds["compute"] + seconds["wait"] + seconds["combine"]
