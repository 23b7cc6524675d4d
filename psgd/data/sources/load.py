"""Loads the data sets that the `data` settings describe: finds files, calls the reader or generator, splits."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from psgd.config import settings as config
from psgd.config.settings import AnySource, Settings
from psgd.core import user_cache
from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Data, Dataset
from psgd.data.sources.arrays import load_arrays
from psgd.data.sources.csv_table import load_table
from psgd.data.sources.digits import load_digits
from psgd.data.sources.idx import load_idx_directory
from psgd.data.sources.libsvm import load_libsvm
from psgd.data.sources.linear import linear
from psgd.data.sources.synthetic import synthetic
from psgd.data.sources.synthetic_sparse import synthetic_sparse
from psgd.data.sparse import SparseDataset
from psgd.data.split import hold_out


def load_data(settings: Settings) -> Data:
    """Load the data of a job. DataError if they are missing or bad, UsageError if the settings do not fit them."""
    data, target = load_source(settings.data, settings.training.seed), settings.training.target
    if target is not None and not data.scored:
        raise UsageError(
            f"training.target is {target:g}, but there are no validation or test data on which it could be reached; "
            "set data.validation, such as 0.1"
        )
    return data


def load_source(source: AnySource, seed: int = 0) -> Data:
    """Load the data of a `data` section. Validation data are drawn by `seed`, the training's, or by that of generated
    data. Raises what `load_data` does."""
    if isinstance(source, config.Synthetic | config.SyntheticSparse | config.Linear):
        seed = source.seed
    train, test, validation, origin, preparation = _read(source, seed)
    if source.validation > 0:
        train, validation = hold_out(train, source.validation, seed)
    held = f", {len(validation)} validation" if validation else ""
    tested = f"{len(test)} test examples" if test else "no test examples"
    if not test and not validation:
        tested += ", so that nothing is scored (data.validation: 0.1 holds examples out for that)"
    return Data(train, test, validation, f"{source.source}: {origin}; {len(train)} train{held}, {tested}", preparation)


def find(source: str, path: str | None) -> Path:
    """Return the directory of data that are not embedded: `path` if given (a mistyped one must not select other data),
    else $PSGD_DATA/<source> or the user's cache, which a download may fill. DataError, which names these places, if
    none is there."""
    places = [Path(os.path.expanduser(path))] if path else default_places(source)
    if place := _first_there(places, stat.S_ISDIR):
        return place
    failed = ""
    if not path:
        from psgd.data.sources.download import REMOTES, download  # slow to import, and most runs need no network

        if source in REMOTES:
            try:
                directory = user_cache.directory() / source
                download(source, REMOTES[source], directory)
                return directory
            except (DataError, OSError) as error:
                failed = f". Nor can they be downloaded: {error}"
    looked = ", ".join(str(place) for place in places)
    unset = "" if path or os.environ.get("PSGD_DATA") else " (PSGD_DATA is not set)"
    raise DataError(
        f"data.source {source}: no directory at {looked}{unset}; "
        f"set data.path to the directory with its files, or PSGD_DATA to the parent of a directory {source!r}{failed}"
    )


def locate(path: str | None) -> Path:
    """Return the path of a file or directory named by the user; a relative one may be under $PSGD_DATA or the user's
    cache. DataError, which names these places, if it is in none of them."""
    assert path is not None, "checked with the settings"
    given = Path(os.path.expanduser(path))
    places = [given] if given.is_absolute() else [given, *default_places(str(given))]
    if place := _first_there(places):
        return place
    looked = ", ".join(str(place) for place in places)
    unset = "" if given.is_absolute() or os.environ.get("PSGD_DATA") else " (PSGD_DATA is not set)"
    advice = (
        "correct the path"
        if given.is_absolute()
        else "put the data at one of these, or set data.path to where they are"
    )
    raise DataError(f"data.path {path}: nothing at {looked}{unset}; {advice}")


def _first_there(places: list[Path], right: Callable[[int], bool] = lambda mode: True) -> Path | None:
    """Return the first place that exists and whose mode is `right`; None if there is none. DataError if one of them
    may not be looked at, and the others are not there."""
    refused = ""
    for place in places:
        try:
            if right(os.stat(place).st_mode):
                return place
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnicodeEncodeError as error:
            refused = f"{place}: not a name in this locale's encoding, {error.encoding}; set LC_ALL=C.UTF-8"
        except OSError as error:
            refused = refused or f"{place}: cannot be read: {error.strerror}"
    if refused:
        raise DataError(refused)
    return None


def default_places(source: str) -> list[Path]:
    """The directories in which data that are not embedded are looked for if no path is given."""
    shared = os.environ.get("PSGD_DATA")
    places = [Path(shared) / source] if shared else []
    with suppress(OSError):
        places.append(user_cache.directory() / source)
    return places


def _read(source: AnySource, seed: int) -> Data:
    """Read or generate the data of `source`, with their origin as note. Table data alone need `seed`, see there."""
    match source:
        case config.Digits():
            return _scaled(*load_digits(), "embedded")
        case config.Mnist() | config.Idx():
            directory = find(source.source, source.path)
            return _scaled(*load_idx_directory(directory), str(directory))
        case config.Csv():
            return load_table(locate(source.path), _test_path(source), source, seed)
        case config.Npz():
            return load_arrays(locate(source.path), source)
        case config.Libsvm():
            return load_libsvm(locate(source.path), _test_path(source), source)
        case config.Synthetic():
            return _scaled(*synthetic(source), "made by a random teacher network")
        case config.SyntheticSparse():
            return _scaled(*synthetic_sparse(source), "labels by a random hyperplane")
        case config.Linear():
            return _scaled(*linear(source), "made along a line")
        case config.Own():
            raise UsageError(
                "data.source is psgd.fit: these are the settings of a call of psgd.fit, and only the script that makes "
                "it has the function and the data; run that script, with resume=True to go on"
            )


def _test_path(source: config.Csv | config.Libsvm) -> Path | None:
    return locate(source.test_path) if source.test_path else None


def _scaled(train: Dataset | SparseDataset, test: Dataset | SparseDataset, origin: str) -> Data:
    """Return data whose inputs are prepared by scaling alone."""
    return Data(train, test, None, origin, {"kind": "scale", "scale": train.scale})
