"""A generated regression problem with one feature, one target, and known slope and intercept.

For example the price of a home by its size: inputs are uniform from 0.5 to 2.5 (hundreds of square metres).
"""

import numpy as np

from psgd.config.settings import Linear
from psgd.core.memory import check_fits
from psgd.core.random_streams import stream
from psgd.data.dataset import Dataset

TRAIN, TEST = 7, 8  # keys of random streams; synthetic.py and synthetic_sparse.py use those below
SMALLEST_INPUT, LARGEST_INPUT = 0.5, 2.5


def linear(settings: Linear) -> tuple[Dataset, Dataset]:
    """Generate the training examples, and a sixth as many for testing, of
    target = slope * input + intercept + noise * N(0, 1). The same settings give the same bits."""
    check_fits(2 * 8 * settings.examples, "these data", "lower data.examples")

    def draw(count: int, part: int) -> Dataset:
        random = stream(settings.seed, "synthetic", part)
        inputs = random.uniform(SMALLEST_INPUT, LARGEST_INPUT, (count, 1))
        targets = settings.slope * inputs + settings.intercept + settings.noise * random.standard_normal((count, 1))
        return Dataset(inputs.astype(np.float32), targets.astype(np.float32), 0)

    return draw(settings.examples, TRAIN), draw(max(1, settings.examples // 6), TEST)
