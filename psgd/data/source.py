"""From the `data` part of a config to datasets: which source, where it lies, what is set aside."""

import os
from pathlib import Path
from typing import Any

from psgd.data.dataset import Data, Dataset, Examples
from psgd.data.digits import load_digits
from psgd.data.idx import load_idx_directory
from psgd.data.split import hold_out
from psgd.data.synthetic import synthetic
from psgd.errors import DataError, UsageError

SOURCES = ("digits", "mnist", "idx", "synthetic")


def load(settings: dict[str, Any]) -> Data:
    """The data that a resolved `data` mapping describes.

    Keys: source, path (null or a directory), validation (fraction, 0 for none), seed (of the split and of synthetic
    data); synthetic also needs examples, features, classes. DataError if data are missing or bad, UsageError for
    settings that cannot be.
    """
    source, fraction = settings["source"], settings.get("validation", 0.0)
    if not 0 <= fraction < 1:
        raise UsageError(f"data.validation is {fraction}; expected a fraction from 0 to below 1")
    train: Examples
    train, test, origin = _read(source, settings)
    validation = None
    if fraction > 0:
        train, validation = hold_out(train, fraction, settings.get("seed", 0))
    held = f", {len(validation)} validation" if validation else ""
    return Data(train, test, validation, f"{source}: {origin}; {len(train)} train{held}, {len(test)} test examples")


def find(source: str, path: str | None) -> Path:
    """The directory of data that are not embedded: `path`, or else the first of the usual places that exists.

    DataError, which names the places, if there is none. A given path is the only place looked at: mistyped, it must
    not turn into other data.
    """
    places = [Path(os.path.expanduser(path))] if path else _places(source)
    for place in places:
        if os.path.isdir(place):  # unlike Path.is_dir, not an exception where permission is missing
            return place
    looked = ", ".join(str(place) for place in places)
    unset = "" if path or os.environ.get("PSGD_DATA") else " (PSGD_DATA is not set)"
    raise DataError(
        f"data.source {source}: no directory at {looked}{unset}; "
        f"set data.path to the directory with its files, or PSGD_DATA to the parent of a directory {source!r}"
    )


def _places(source: str) -> list[Path]:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    shared = os.environ.get("PSGD_DATA")
    return ([Path(shared) / source] if shared else []) + [Path(cache) / "psgd" / source]


def _read(source: str, settings: dict[str, Any]) -> tuple[Dataset, Dataset, str]:
    if source == "digits":
        return *load_digits(), "embedded"
    if source in ("mnist", "idx"):
        directory = find(source, settings.get("path"))
        return *load_idx_directory(directory), str(directory)
    if source == "synthetic":
        return *_make_synthetic(settings), "made by a random teacher network"
    raise UsageError(f"data.source is {source!r}; expected one of {', '.join(SOURCES)}")


def _make_synthetic(settings: dict[str, Any]) -> tuple[Dataset, Dataset]:
    for name in ("examples", "features", "classes"):
        if settings.get(name) is None:
            raise UsageError(f"data.{name} is not set; data.source synthetic needs examples, features and classes")
    return synthetic(settings["examples"], settings["features"], settings["classes"], settings.get("seed", 0))
