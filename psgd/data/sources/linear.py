"""A generated regression problem of one feature on one target, with known slope and intercept.

As the price of a home by its size: inputs are uniform from 0.5 to 2.5 (hundreds of square metres).
"""

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.data.dataset import Dataset

TRAIN, TEST = 7, 8  # keys of random streams; synthetic.py and synthetic_sparse.py use those below
SMALLEST_INPUT, LARGEST_INPUT = 0.5, 2.5


def linear(examples: int, slope: float, intercept: float, noise: float, seed: int) -> tuple[Dataset, Dataset]:
    """Generate `examples` training examples, and a sixth as many for testing, of
    target = slope * input + intercept + noise * N(0, 1).

    The same arguments give the same bits. UsageError for values out of range.
    """
    if examples < 1 or noise < 0:
        raise UsageError(
            f"data.examples is {examples} and data.noise {noise}; expected at least 1, and a number of at least 0"
        )

    def draw(count: int, part: int) -> Dataset:
        random = stream(seed, "synthetic", part)
        inputs = random.uniform(SMALLEST_INPUT, LARGEST_INPUT, (count, 1))
        targets = slope * inputs + intercept + noise * random.standard_normal((count, 1))
        return Dataset(inputs.astype(np.float32), targets.astype(np.float32), 0)

    return draw(examples, TRAIN), draw(max(1, examples // 6), TEST)
