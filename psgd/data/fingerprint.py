"""Fingerprints of data, by which a resumed run notices that they are not those it was begun with."""

import hashlib
from dataclasses import fields
from typing import Any

import numpy as np

from psgd.data.dataset import Data
from psgd.data.sources.arrays import Selected

WHOLE_BYTES = 1 << 28  # arrays up to this size are read whole; of larger ones, which may lie on a slow disk, samples
SAMPLES, SAMPLE_BYTES = 256, 1 << 18


def fingerprint(data: Data) -> dict[str, str]:
    """SHA-256 of each part of the data by its name: of all numbers, or of samples of arrays that are very large."""
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    return {name: _digest(part) for name, part in parts.items() if part}


def _digest(part: Any) -> str:
    sha = hashlib.sha256()
    if isinstance(part, Selected):
        if len(part) < len(part.base):
            _add(sha, part.rows.view(np.uint8))
        part = part.base
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray):
            sha.update(f"{field.name} {value.dtype.str} {value.shape} ".encode())
            _add(sha, value.reshape(-1).view(np.uint8))
        else:
            sha.update(f"{field.name} {value!r} ".encode())
    return sha.hexdigest()


def _add(sha: Any, data: np.ndarray) -> None:
    if data.size <= WHOLE_BYTES:
        sha.update(data)
        return
    for start in np.linspace(0, data.size - SAMPLE_BYTES, SAMPLES).astype(np.int64).tolist():
        sha.update(data[start : start + SAMPLE_BYTES])
