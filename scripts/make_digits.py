"""Make psgd/data/digits.npz from the copy of the UCI digits within scikit-learn (needs: pip install scikit-learn).

    python scripts/make_digits.py psgd/data/digits.npz

Source and licence: see psgd/data/digits.py.
"""

import argparse
from pathlib import Path

import numpy as np


def main() -> None:
    """Write the images as bytes (1797, 64), 0 to 16, and the labels as bytes (1797,)."""
    parser = argparse.ArgumentParser(description="Extract the embedded digits; needs scikit-learn.")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    output = parser.parse_args().output
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("this needs scikit-learn: pip install scikit-learn") from None
    images, labels = load_digits(return_X_y=True)
    inputs = images.astype(np.uint8)
    if inputs.shape != (1797, 64) or not np.array_equal(inputs, images) or inputs.max() != 16:
        raise SystemExit(f"unexpected digits: shape {images.shape}, values {images.min()} to {images.max()}")
    np.savez_compressed(output, inputs=inputs, labels=labels.astype(np.uint8))


if __name__ == "__main__":
    main()
