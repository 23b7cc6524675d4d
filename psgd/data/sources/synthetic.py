"""A learnable problem of any shape: standard normal inputs, targets by a random teacher network. Knows no file.

The targets are the same bits on every machine: the teacher computes with integers small enough for float64 to hold all
sums exactly, so that no BLAS kernel or thread count can change them, and its 32 units are h / (1 + |h|), which is
rounded correctly everywhere, instead of tanh, which is not.
"""

import math
from typing import NamedTuple

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.data.dataset import Dataset

TEACHER, TRAIN, TEST = range(3)
UNITS = 32
BLOCK = 512  # rows drawn at a time, each block from its own stream
INPUT_STEPS, WEIGHT_STEPS, UNIT_STEPS = 2.0**12, 2.0**8, 2.0**20  # integers a unit of each
SPREAD = 2.5  # brings the regression targets to a deviation of about 1
NOISE = 0.05


class Teacher(NamedTuple):
    """Integer-valued float64 weights without biases: (features, units) and (units, outputs)."""

    first: np.ndarray
    second: np.ndarray
    classes: int


def synthetic(examples: int, features: int, classes: int, seed: int) -> tuple[Dataset, Dataset]:
    """Training data of `examples` float32 rows and test data of a sixth more; `classes` 0 is regression on one output.

    Same arguments, same bits. UsageError for sizes that make no problem.
    """
    for name, value, least in (("examples", examples, 1), ("features", features, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"data.{name} is {value}; expected an integer of at least {least}")
    if classes < 0 or classes == 1:
        raise UsageError(f"data.classes is {classes}; expected at least 2, or 0 for regression")
    teacher = _draw_teacher(features, classes, seed)
    return _draw(examples, teacher, seed, TRAIN), _draw(max(1, examples // 6), teacher, seed, TEST)


def _draw_teacher(features: int, classes: int, seed: int) -> Teacher:
    """Columns of the second layer have equal norms: with odd units and no bias, the classes are about balanced."""
    draw = stream(seed, "synthetic", TEACHER)
    first = np.rint(draw.standard_normal((features, UNITS)) * WEIGHT_STEPS)
    second = np.rint(draw.standard_normal((UNITS, classes or 1)) * WEIGHT_STEPS)
    norms = np.sqrt(np.square(second).sum(axis=0))  # integers below 2**53: exact in any order
    return Teacher(first, np.rint(second / norms * WEIGHT_STEPS), classes)


def _draw(examples: int, teacher: Teacher, seed: int, part: int) -> Dataset:
    inputs = np.empty((examples, len(teacher.first)), np.float32)
    labels = np.empty(examples, np.int64)
    values = np.empty((examples, 1), np.float32)
    for block, start in enumerate(range(0, examples, BLOCK)):
        rows = slice(start, min(start + BLOCK, examples))
        draw = stream(seed, "synthetic", part, block)
        draw.standard_normal(out=inputs[rows], dtype=np.float32)
        outputs = print_probe(teacher, inputs[rows])
        if teacher.classes:
            labels[rows] = outputs.argmax(axis=1)
        else:
            values[rows] = SPREAD * outputs + NOISE * draw.standard_normal(outputs.shape)
    return Dataset(inputs, labels if teacher.classes else values, teacher.classes)


def print_probe(teacher: Teacher, inputs: np.ndarray) -> np.ndarray:
    """The teacher's outputs (rows, outputs), float64; products of integers, exact up to 2**27 features."""
    steps = np.rint(inputs.astype(np.float64) * INPUT_STEPS)
    sums = (steps @ teacher.first) / (INPUT_STEPS * WEIGHT_STEPS * math.sqrt(inputs.shape[1]))
    units = np.rint(sums / (1 + np.abs(sums)) * UNIT_STEPS)
    outputs: np.ndarray = (units @ teacher.second) / (UNIT_STEPS * WEIGHT_STEPS)
    return outputs
