"""The embedded handwritten digits: 1797 images of 8 x 8 pixels, 0 to 16, in ten classes.

Source: the test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0; the copy that scikit-learn ships, stored as
bytes by scripts/make_digits.py.
"""

import zipfile
from pathlib import Path

import numpy as np

from psgd.core.errors import DataError
from psgd.core.random_streams import stream
from psgd.data.dataset import Dataset

CLASSES = 10
TEST_EXAMPLES = 360  # drawn at random, always the same ones: the last in stored order come from other writers


def load_digits() -> tuple[Dataset, Dataset]:
    """Return training data (1437, 64) and test data (360, 64). DataError if the file is missing or damaged."""
    path = Path(__file__).with_name("digits.npz")
    try:
        with np.load(path, allow_pickle=False) as stored:
            inputs, labels = stored["inputs"], stored["labels"].astype(np.int64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: the embedded digits cannot be read ({error}); install psgd again") from error
    digits = Dataset(inputs, labels, CLASSES, scale=1 / 16)
    order = stream(0, "digits").permutation(len(digits))
    return digits.take(np.sort(order[TEST_EXAMPLES:])), digits.take(np.sort(order[:TEST_EXAMPLES]))
