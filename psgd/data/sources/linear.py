"""One feature, one target, a straight line between them: size -> price, with the answer known. Knows no file.

Inputs are uniform from 0.5 to 2.5, as sizes of homes are in hundreds of square metres.
"""

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.random_streams import stream
from psgd.data.dataset import Dataset

TRAIN, TEST = 7, 8  # besides those of synthetic.py and synthetic_sparse.py, whose streams these are too
LEAST, MOST = 0.5, 2.5


def linear(examples: int, slope: float, intercept: float, noise: float, seed: int) -> tuple[Dataset, Dataset]:
    """target = slope * input + intercept + noise * N(0, 1); training data, and test data of a sixth more.

    Same arguments, same bits. UsageError for sizes that make no problem.
    """
    if examples < 1 or noise < 0:
        raise UsageError(
            f"data.examples is {examples} and data.noise {noise}; expected at least 1, and a number of at least 0"
        )

    def draw(count: int, part: int) -> Dataset:
        random = stream(seed, "synthetic", part)
        inputs = random.uniform(LEAST, MOST, (count, 1))
        targets = slope * inputs + intercept + noise * random.standard_normal((count, 1))
        return Dataset(inputs.astype(np.float32), targets.astype(np.float32), 0)

    return draw(examples, TRAIN), draw(max(1, examples // 6), TEST)
