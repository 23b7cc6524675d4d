"""The values of a tuned setting that are tried: those of its space, and others where the best lies at the edge."""

import numpy as np

from psgd.config.comparison import Space

EXTENDED_BY = 2  # values, at one edge
DIGITS = 6  # of tried values


def first_values(space: Space) -> list[float]:
    """The values to try first, ascending."""
    if space.values:
        return sorted(space.values)
    low, high = space.limits or [0.0, 0.0]
    spaced = np.geomspace if space.log else np.linspace
    return [_rounded(value) for value in spaced(low, high, space.points).tolist()]


def beyond(space: Space, tried: list[float], winner: float | None) -> list[float]:
    """Values beyond the edge of those tried (ascending), as far apart as these, if the best lies at that edge. [] if it
    does not, or the values are a list. They do not cross 0 if the space does not."""
    if winner is None or space.values or winner not in (tried[0], tried[-1]):
        return []
    edge, next_to_it = (tried[-1], tried[-2]) if winner == tried[-1] else (tried[0], tried[1])
    values = []
    for _ in range(EXTENDED_BY):
        edge, next_to_it = _rounded(edge * edge / next_to_it if space.log else 2 * edge - next_to_it), edge
        values.append(edge)
    low, high = space.limits or [0.0, 0.0]
    return [value for value in values if (value > 0 or low <= 0) and (value < 0 or high >= 0)]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
