"""Files of data as those of MNIST are."""

import gzip
import struct
from pathlib import Path

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(values: object, stored: str = "u1") -> bytes:
    array = np.asarray(values, stored)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[stored], array.ndim, *array.shape) + array.tobytes()


def write_idx(directory: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write bytes as both training and test data."""
    directory.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (directory / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
