"""A generated problem of any shape: standard normal inputs, and targets computed by a random teacher network.

The targets are the same bits on every machine: the teacher computes with integers so small that float64 holds all sums
exactly, whatever the BLAS kernel and the number of threads; and its 32 units are h / (1 + |h|), which is correctly
rounded on every machine, unlike tanh.
"""

import math
from typing import NamedTuple

import numpy as np

from psgd.config.settings import Synthetic
from psgd.core.memory import check_fits
from psgd.core.random_streams import stream
from psgd.data.dataset import Dataset

TEACHER, TRAIN, TEST = range(3)  # keys of random streams
UNITS = 32  # of the teacher's hidden layer
STREAM_ROWS = 512  # rows drawn from one random stream; another number makes other data
INPUT_STEPS, WEIGHT_STEPS, UNIT_STEPS = 2.0**12, 2.0**8, 2.0**20  # integer steps per 1.0 of inputs, weights and units
SPREAD = 2.5  # factor that gives the regression targets a standard deviation of about 1
NOISE = 0.05  # standard deviation of the noise of the regression targets


class Teacher(NamedTuple):
    """Weights without biases, (features, units) and (units, outputs): whole numbers in float64."""

    first: np.ndarray
    second: np.ndarray
    classes: int


def synthetic(settings: Synthetic) -> tuple[Dataset, Dataset]:
    """Generate the training examples, and a sixth as many for testing, with float32 inputs. `classes` 0 means
    regression on one output. The same settings give the same bits."""
    examples, seed = settings.examples, settings.seed
    numbers = examples * settings.features + UNITS * (settings.features + settings.classes)
    check_fits(4 * numbers, "these data", "lower data.examples, data.features or data.classes")
    teacher = _draw_teacher(settings.features, settings.classes, seed)
    return _draw(examples, teacher, seed, TRAIN), _draw(max(1, examples // 6), teacher, seed, TEST)


def _draw_teacher(features: int, classes: int, seed: int) -> Teacher:
    """Draw the teacher. The columns of its second layer have equal norms, which makes the classes about equally
    frequent, because its units are odd functions and there are no biases."""
    draw = stream(seed, "synthetic", TEACHER)
    first = np.rint(draw.standard_normal((features, UNITS)) * WEIGHT_STEPS)
    second = np.rint(draw.standard_normal((UNITS, classes or 1)) * WEIGHT_STEPS)
    norms = np.sqrt(np.square(second).sum(axis=0))  # integers below 2**53: exact in any order
    return Teacher(first, np.rint(second / norms * WEIGHT_STEPS), classes)


def _draw(examples: int, teacher: Teacher, seed: int, part: int) -> Dataset:
    inputs = np.empty((examples, len(teacher.first)), np.float32)
    labels = np.empty(examples, np.int64)
    values = np.empty((examples, 1), np.float32)
    for block, start in enumerate(range(0, examples, STREAM_ROWS)):
        rows = slice(start, min(start + STREAM_ROWS, examples))
        draw = stream(seed, "synthetic", part, block)
        draw.standard_normal(out=inputs[rows], dtype=np.float32)
        outputs = _teacher_outputs(teacher, inputs[rows])
        if teacher.classes:
            labels[rows] = outputs.argmax(axis=1)
        else:
            values[rows] = SPREAD * outputs + NOISE * draw.standard_normal(outputs.shape)
    return Dataset(inputs, labels if teacher.classes else values, teacher.classes)


def _teacher_outputs(teacher: Teacher, inputs: np.ndarray) -> np.ndarray:
    """Return the teacher's outputs (rows, outputs), float64. The sums of integers are exact up to 2**27 features."""
    steps = np.rint(inputs.astype(np.float64) * INPUT_STEPS)
    sums = (steps @ teacher.first) / (INPUT_STEPS * WEIGHT_STEPS * math.sqrt(inputs.shape[1]))
    units = np.rint(sums / (1 + np.abs(sums)) * UNIT_STEPS)
    outputs: np.ndarray = (units @ teacher.second) / (UNIT_STEPS * WEIGHT_STEPS)
    return outputs
