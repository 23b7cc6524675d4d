"""Loading the data that the `data` part of a config describes: find the files, read them, split off validation data."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from psgd.core import user_cache as cache
from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Data, Dataset
from psgd.data.sources.arrays import load_arrays
from psgd.data.sources.digits import load_digits
from psgd.data.sources.idx import load_idx_directory
from psgd.data.sources.libsvm import Style, load_libsvm
from psgd.data.sources.linear import linear
from psgd.data.sources.loaded import LoadedData
from psgd.data.sources.synthetic import synthetic
from psgd.data.sources.synthetic_sparse import synthetic_sparse
from psgd.data.sources.table import load_table
from psgd.data.split import hold_out

SOURCES = ("digits", "mnist", "idx", "csv", "npz", "libsvm", "synthetic", "synthetic-sparse", "linear")


def load(settings: dict[str, Any]) -> Data:
    """The data that a resolved `data` mapping describes.

    Keys: source, path (null or a directory), validation (fraction, 0 for none), seed (of the split and of synthetic
    data); synthetic also needs examples, features, classes. DataError if data are missing or bad, UsageError for
    settings that cannot be.
    """
    source, fraction = settings["source"], settings.get("validation", 0.0)
    if not 0 <= fraction < 1:
        raise UsageError(f"data.validation is {fraction}; expected a fraction from 0 to below 1")
    train, test, origin, preparation = _read(source, settings)
    validation = None
    if fraction > 0:
        train, validation = hold_out(train, fraction, settings.get("seed", 0))
    held = f", {len(validation)} validation" if validation else ""
    tested = f"{len(test)} test examples" if test else "no test examples"
    return Data(train, test, validation, f"{source}: {origin}; {len(train)} train{held}, {tested}", preparation)


def find(source: str, path: str | None) -> Path:
    """Return the directory of a source's files: `path`, or else $PSGD_DATA/<source> or that in the user's cache, to
    which the files are downloaded if neither directory exists.

    DataError, which names these places, if there is none. If `path` is given, no other place is tried: a mistyped path
    must not lead to other data.
    """
    places = [Path(os.path.expanduser(path))] if path else _places(source)
    for place in places:
        if os.path.isdir(place):  # unlike Path.is_dir, not an exception where permission is missing
            return place
    failed = "" if path else _download(source)
    if failed is None:
        return cache.directory() / source
    looked = ", ".join(str(place) for place in places)
    unset = "" if path or os.environ.get("PSGD_DATA") else " (PSGD_DATA is not set)"
    raise DataError(
        f"data.source {source}: no directory at {looked}{unset}; "
        f"set data.path to the directory with its files, or PSGD_DATA to the parent of a directory {source!r}{failed}"
    )


def locate(path: str) -> Path:
    """Return the file or directory that the user named; a relative path is looked for in the working directory, below
    $PSGD_DATA and in the user's cache.

    DataError, which names these places, if it is in none of them.
    """
    given = Path(os.path.expanduser(path))
    places = [given] if given.is_absolute() else [given, *_places(str(given))]
    for place in places:
        if os.path.exists(place):
            return place
    looked = ", ".join(str(place) for place in places)
    unset = "" if given.is_absolute() or os.environ.get("PSGD_DATA") else " (PSGD_DATA is not set)"
    raise DataError(f"data.path {path}: nothing at {looked}{unset}; correct the path")


def _download(source: str) -> str | None:
    """Download to the cache. Returns None on success, else the text to add to the error: empty for a source that cannot
    be downloaded."""
    # Imported here, because most runs need no network and the import takes long.
    from psgd.data.sources.download import REMOTES, download

    if source not in REMOTES:
        return ""
    try:
        download(source, REMOTES[source], cache.directory() / source)
    except (DataError, OSError) as error:
        return f". Nor can they be downloaded: {error}"
    return None


def _places(source: str) -> list[Path]:
    shared = os.environ.get("PSGD_DATA")
    places = [Path(shared) / source] if shared else []
    with suppress(OSError):
        places.append(cache.directory() / source)
    return places


def _read(source: str, settings: dict[str, Any]) -> LoadedData:
    if source == "digits":
        return LoadedData(*load_digits(), "embedded", _scaled(1 / 16))
    if source in ("mnist", "idx"):
        directory = find(source, settings.get("path"))
        return LoadedData(*load_idx_directory(directory), str(directory), _scaled(1 / 255))
    if source == "csv":
        path, test_path = locate(settings["path"]), settings["test_path"]
        return load_table(path, locate(test_path) if test_path else None, settings)
    if source == "npz":
        return load_arrays(locate(settings["path"]), settings)
    if source == "libsvm":
        return _read_libsvm(settings)
    if source == "synthetic-sparse":
        sizes = (settings[name] for name in ("examples", "features", "active", "classes", "seed", "unit_length"))
        made, test = synthetic_sparse(*sizes)
        return LoadedData(made, test, "labels by a random hyperplane", _scaled(made.scale))
    if source == "synthetic":
        return LoadedData(*_make_synthetic(settings), "made by a random teacher network", _scaled(1.0))
    if source == "linear":
        line = [settings[name] for name in ("examples", "slope", "intercept", "noise", "seed")]
        return LoadedData(*linear(*line), "made along a line", _scaled(1.0))
    raise UsageError(f"data.source is {source!r}; expected one of {', '.join(SOURCES)}")


def _read_libsvm(settings: dict[str, Any]) -> LoadedData:
    path, test_path = locate(settings["path"]), settings["test_path"]
    style = Style(settings["task"], settings["zero_based"], settings["unit_length"], settings["features"])
    train, test, labels = load_libsvm(path, locate(test_path) if test_path else None, settings["train_rows"], style)
    preparation = {"kind": "libsvm", "classes": labels, "zero_based": style.zero_based, "unit": style.unit_length}
    origin = f"{path}, {len(train.indices) / len(train):.1f} of {train.features} features an example"
    return LoadedData(train, test, origin, preparation)


def _scaled(scale: float) -> dict[str, Any]:
    """Return the preparation of inputs that are only multiplied by `scale`."""
    return {"kind": "scale", "scale": scale}


def _make_synthetic(settings: dict[str, Any]) -> tuple[Dataset, Dataset]:
    for name in ("examples", "features", "classes"):
        if settings.get(name) is None:
            raise UsageError(f"data.{name} is not set; data.source synthetic needs examples, features and classes")
    return synthetic(settings["examples"], settings["features"], settings["classes"], settings.get("seed", 0))
