"""Converts what Python programs give for settings to what a YAML file would hold."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from psgd.core.errors import UsageError


def plain(value: Any) -> Any:
    """Convert mappings to dicts, sequences to lists, numpy's numbers to Python's and paths to text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def path_of(output: Any) -> str | None:
    """The argument `output` as text, with ~ expanded. UsageError if it is no path."""
    if output is None:
        return None
    name = os.fspath(output) if isinstance(output, str | os.PathLike) else None
    if not isinstance(name, str) or not name or "\0" in name:
        raise UsageError(f"output is {output!r}; it must be the path of a directory, or None")
    return os.path.expanduser(name)
