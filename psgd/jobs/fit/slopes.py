"""Compares a gradient with finite differences of its loss.

A finite difference is wrong by rounding where the step is short, and by curvature or a kink where it is long. So steps
of many lengths are tried, and a gradient is contradicted only by differences that agree with each other.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from psgd.learners.parameter_tree import Leaf, ParameterTree

STEPS = (1e-3, 1e-2, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)  # relative to the parameters; the best ones first
MOST_HALVINGS = 40  # of the parameters, until their loss is like that of zeros
TOLERANCE = 0.05  # of a slope, relative; mistakes are factors such as 2 or the batch size
CONFIRMED = 0.25  # two finite differences that agree are so much nearer to each other than to the gradient
ROUNDING = 8.0  # errors of a loss, in units of its dtype's precision
LIFT = 10.0  # by how much the step of a leaf with a small slope may be longer than that of others
SEEDS = (1, 2)  # of the random directions

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]  # parameters (P,) -> loss, nan if there is none; gradient


class Slope(NamedTuple):
    """The change of the loss along a direction, for a step of length 1."""

    measured: float
    predicted: float  # by the gradient
    agrees: bool


class LeafSlope(NamedTuple):
    """How the gradient of one leaf compares with the loss."""

    path: str
    slope: Slope
    ratio: float | None  # the gradient divided by the slope of the loss; None if it depends on the direction


def wrong_leaves(evaluate: Evaluate, structure: ParameterTree, start: np.ndarray) -> tuple[list[LeafSlope], bool]:
    """Return the leaves whose gradient contradicts the loss, or one LeafSlope of all parameters if they are
    wrong together, and whether they are."""
    for point, scales in _points(evaluate, structure, start):
        _, gradient = evaluate(point)
        directions = [_direction(structure, gradient, scales, seed) for seed in SEEDS]
        slopes = [s for direction in directions if (s := _slope(evaluate, point, gradient, direction))]
        whole_agrees = all(slope.agrees for slope in slopes)
        still = [leaf for leaf in structure.leaves if not gradient[leaf.where].any()]
        if whole_agrees and not (forgotten := _forgotten(still, evaluate, point, gradient, directions)):
            return [], False
    if whole_agrees:
        return forgotten, False
    leaves, right = [], False
    for leaf in structure.leaves:
        found = _along([leaf], evaluate, point, gradient, directions)
        wrong = [slope for slope in found if not slope.agrees]
        right = right or (bool(found) and not wrong)
        if wrong:
            leaves.append(LeafSlope(leaf.path, wrong[0], _ratio(wrong)))
    wrong = [slope for slope in slopes if not slope.agrees]
    whole = LeafSlope("", wrong[0], _ratio(wrong))
    known = [leaf.ratio for leaf in leaves if leaf.ratio is not None]
    alike = whole.ratio is not None and all(near(ratio, whole.ratio) for ratio in known)
    if not leaves or (known and alike and not right):
        return [whole], True
    return leaves, False


def _forgotten(
    leaves: list[Leaf], evaluate: Evaluate, point: np.ndarray, gradient: np.ndarray, directions: list[np.ndarray]
) -> list[LeafSlope]:
    """The gradient of all `leaves` is 0: return those with which the loss changes nevertheless, perhaps too little to
    be missed in the whole slope. They are tried together, and in halves only if it does: thousands may have no effect.
    """
    slopes = _along(leaves, evaluate, point, gradient, directions) if leaves else []
    if not slopes or any(slope.agrees for slope in slopes):
        return []
    if len(leaves) == 1:
        return [LeafSlope(leaves[0].path, slopes[0], _ratio(slopes))]
    half = len(leaves) // 2
    parts = leaves[:half], leaves[half:]
    return [found for part in parts for found in _forgotten(part, evaluate, point, gradient, directions)]


def _along(
    leaves: list[Leaf], evaluate: Evaluate, point: np.ndarray, gradient: np.ndarray, directions: list[np.ndarray]
) -> list[Slope]:
    """The slopes along the leaves' part of each direction, where differences can tell."""
    found = []
    for direction in directions:
        alone = np.zeros_like(direction)
        for leaf in leaves:
            alone[leaf.where] = direction[leaf.where]
        if slope := _slope(evaluate, point, gradient, alone):
            found.append(slope)
    return found


def near(ratio: float, value: float) -> bool:
    """Whether a ratio is `value`, as far as finite differences can tell."""
    return ratio == value or abs(ratio - value) <= 0.05 * abs(value)


def _points(evaluate: Evaluate, structure: ParameterTree, start: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield points, and the scales (P,) of the parameters there. A wrong gradient contradicts the loss at all of them:
    at two beside `start` (P,), which itself may lie on a kink (relu has one at 0, where biases begin); and where the
    loss is large, at one nearer to 0. There it changes even if it is capped, as the logarithm of a clipped
    probability is."""
    scales = _scales(structure, start)
    for distance, seed in zip((1e-2, 1e-3), SEEDS, strict=True):
        yield _beside(evaluate, start, scales, distance, seed), scales
    at_zero, _ = evaluate(np.zeros_like(start))
    for halvings in range(MOST_HALVINGS):
        nearer = start * start.dtype.type(0.5**halvings)
        if abs(evaluate(nearer)[0] - at_zero) <= 0.5 * abs(at_zero):
            if halvings:
                scales *= 0.5**halvings
                yield _beside(evaluate, nearer, scales, 1e-2, SEEDS[0]), scales
            return


def _scales(structure: ParameterTree, start: np.ndarray) -> np.ndarray:
    """Return (P,): the root mean square of each leaf, or of all parameters for a leaf of zeros; 1 if all are zero."""
    whole = _rms(start) or 1.0
    scales = np.empty(start.size)
    for leaf in structure.leaves:
        scales[leaf.where] = _rms(start[leaf.where]) or whole
    return scales


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _beside(evaluate: Evaluate, start: np.ndarray, scales: np.ndarray, distance: float, seed: int) -> np.ndarray:
    """Return a random point, at most `distance` from `start` relative to `scales`, and so near that the loss there is
    nearly the same."""
    direction = scales * np.random.default_rng(seed).standard_normal(start.size)
    loss, _ = evaluate(start)
    for nearness in (1.0, 1e-1, 1e-2, 1e-3):
        point: np.ndarray = (start + direction * (distance * nearness)).astype(start.dtype)
        if abs(evaluate(point)[0] - loss) <= 0.05 * abs(loss):
            break
    return point


def _direction(structure: ParameterTree, gradient: np.ndarray, scales: np.ndarray, seed: int) -> np.ndarray:
    """Return a random direction (P,) in which all leaves contribute to the slope, about equally and with one sign."""
    direction = scales * np.random.default_rng([seed, 0]).standard_normal(gradient.size)
    parts = [float(direction[leaf.where] @ gradient[leaf.where]) for leaf in structure.leaves]
    largest = max(map(abs, parts))
    for leaf, part in zip(structure.leaves, parts, strict=True):
        lift = min(LIFT, largest / abs(part)) if part else LIFT
        direction[leaf.where] *= -lift if part < 0 else lift
    return direction


def _slope(evaluate: Evaluate, point: np.ndarray, gradient: np.ndarray, direction: np.ndarray) -> Slope | None:
    """Compare the gradient (P,) with central differences; None if these cannot tell."""
    predicted = float(direction @ gradient)
    precision = ROUNDING * float(np.finfo(point.dtype).eps)
    before = None
    confirmed = None
    for step in STEPS:
        up, _ = evaluate((point + step * direction).astype(point.dtype))
        down, _ = evaluate((point - step * direction).astype(point.dtype))
        measured, size = (up - down) / (2 * step), max(abs(up - down) / (2 * step), abs(predicted))
        rounding = precision * max(abs(up), abs(down)) / step
        if not np.isfinite(measured) or not size or rounding > 0.1 * size:
            before = None
            continue
        if abs(measured - predicted) <= TOLERANCE * size + rounding:
            return Slope(measured, predicted, True)
        if before is not None and abs(measured - before) + rounding <= CONFIRMED * abs(measured - predicted):
            confirmed = Slope(measured, predicted, False)
        before = measured
    return confirmed


def _ratio(slopes: list[Slope]) -> float | None:
    """Return predicted / measured, infinite if the loss does not change, if all slopes have the same, else None."""
    ratios = [s.predicted / s.measured if s.measured else float("inf") for s in slopes]
    same = len(ratios) > 1 and (ratios[0] == ratios[1] or abs(ratios[0] - ratios[1]) <= 0.05 * abs(ratios[0]))
    return ratios[0] if same else None
