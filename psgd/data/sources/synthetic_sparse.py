"""A generated sparse problem of any size: binary features of unequal frequency, labels by a random sparse hyperplane.

Its shape is that of Zinkevich et al. 2010, section 3, whose e-mails have about 313 of 2^18 features each, in rows
of unit length. The labels are the same bits on every machine: sums of small integers and correctly rounded products.
"""

import math
from typing import NamedTuple

import numpy as np

from psgd.config.settings import SyntheticSparse
from psgd.core.errors import UsageError
from psgd.core.memory import check_fits
from psgd.core.random_streams import stream
from psgd.data.sources.synthetic import STREAM_ROWS
from psgd.data.sparse import SparseDataset

TEACHER, THRESHOLD, TRAIN, TEST = range(3, 7)  # keys of random streams; synthetic.py uses those below
WEIGHTED_FEATURES = 4  # the most frequent ones of each interval, which have a weight of -1 or 1 in the hyperplane
NOISE = 0.05  # fraction of the labels that are flipped


class Teacher(NamedTuple):
    """The hyperplane. Each example has exactly one feature in each interval of feature numbers."""

    weights: np.ndarray  # (features,) int8
    threshold: int  # the sum of weights that about half of the examples exceed
    edges: np.ndarray  # (active + 1,) bounds of the intervals


def synthetic_sparse(settings: SyntheticSparse) -> tuple[SparseDataset, SparseDataset]:
    """Generate the training examples with `active` features each, and a sixth as many for testing. `classes` is 2, or 0
    for regression on -1 and 1, as in the paper. The same settings give the same bits. UsageError if there are fewer
    features than active ones, or too many."""
    features, active = settings.features, settings.active
    if not active <= features < 2**31:
        raise UsageError(f"data.features is {features}; expected at least data.active = {active}, and less than 2^31")
    check_fits(4 * settings.examples * active, "these data", "lower data.examples or data.active")
    teacher = _draw_teacher(features, active, settings.seed)
    examples = settings.examples
    return _draw(settings, examples, teacher, TRAIN), _draw(settings, max(1, examples // 6), teacher, TEST)


def _draw_teacher(features: int, active: int, seed: int) -> Teacher:
    edges = np.arange(active + 1) * features // active
    weights = np.zeros(features, np.int8)
    frequent = np.minimum(edges[:-1, None] + np.arange(WEIGHTED_FEATURES), edges[1:, None] - 1)
    weights[frequent] = 2 * stream(seed, "synthetic", TEACHER).integers(0, 2, frequent.shape) - 1
    rows = _draw_rows(stream(seed, "synthetic", THRESHOLD), STREAM_ROWS, edges)
    return Teacher(weights, int(np.median(_sums(weights, rows))), edges)


def _draw(settings: SyntheticSparse, examples: int, teacher: Teacher, part: int) -> SparseDataset:
    active, classes = settings.active, settings.classes
    indices = np.empty((examples, active), np.int32)
    labels = np.empty(examples, np.int64)
    for block, start in enumerate(range(0, examples, STREAM_ROWS)):
        rows = slice(start, min(start + STREAM_ROWS, examples))
        draw = stream(settings.seed, "synthetic", part, block)
        indices[rows] = _draw_rows(draw, rows.stop - start, teacher.edges)
        flipped = draw.random(rows.stop - start) < NOISE
        labels[rows] = (_sums(teacher.weights, indices[rows]) > teacher.threshold) ^ flipped
    targets = labels if classes else (2.0 * labels[:, None] - 1.0).astype(np.float32)
    indptr = np.arange(examples + 1, dtype=np.int64) * active
    scale = 1.0 / math.sqrt(active) if settings.unit_length else 1.0
    return SparseDataset(indptr, indices.reshape(-1), None, targets, classes, settings.features, scale)


def _draw_rows(draw: np.random.Generator, count: int, edges: np.ndarray) -> np.ndarray:
    """Draw feature numbers (count, active), ascending in each row. The n-th feature of an interval is about n^(-7/8)
    times as frequent as its first: like words, a few are in many examples and most in hardly any."""
    position = draw.random((count, len(edges) - 1))
    for _ in range(3):
        position *= position
    position *= np.diff(edges)
    indices = position.astype(np.int64)  # below the interval's width: the largest draw is 1 - 2^-53
    indices += edges[:-1]
    return indices


def _sums(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    sums: np.ndarray = weights[rows].sum(axis=1, dtype=np.int64)
    return sums
