"""Reading numpy's npz and npy files, and recognising inputs and targets by the names of the arrays."""

import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from psgd.core.errors import DataError
from psgd.core.memory import memory_bytes
from psgd.data.sources.compressed import open_unpacked, packing

INPUTS = ("x", "inputs", "images", "data", "features")
TARGETS = ("y", "labels", "targets", "target")
PARTS = ("", "train", "test")
_NPY = re.compile(r"([^.].*)\.npy(\.gz|\.bz2|\.xz)?", re.IGNORECASE)
# What numpy calls object arrays, when it refuses to unpickle them.
_OBJECTS = "an array of Python objects is not read; save it as numbers or text, by .astype(float) or .astype(str)"
CHECKED_ROWS = 4096  # looked at in one call; raised, it takes fewer calls and more memory


class Named(NamedTuple):
    name: str  # for messages: the file, and the array's name in it
    array: np.ndarray


Arrays = dict[str, Named]  # by lower-case name


def holds_arrays(path: Path) -> bool:
    """Whether a path is that of a directory, or named like a file of arrays."""
    return os.path.isdir(path) or bool(_NPY.fullmatch(path.name.lower().replace(".npz", ".npy")))


def read_numpy_file(path: Path) -> Arrays:
    """Read the arrays of an npz file, or memory-map those of a directory of npy files or of one npy file (the inputs,
    x); compressed npy files are read. DataError if there are none or if a file cannot be read."""
    if os.path.isdir(path):
        try:
            files = {
                match[1].lower(): path / name for name in sorted(os.listdir(path)) if (match := _NPY.fullmatch(name))
            }
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        if not files:
            raise DataError(f"{path}: no npy files there; expected x_train.npy, y_train.npy and so on")
        return {name: Named(str(file), _read_npy(file)) for name, file in files.items()}
    if _NPY.fullmatch(path.name):
        return {"x": Named(str(path), _read_npy(path))}
    try:
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                begun = file.read(2) == b"PK"
            if packed := packing(path):
                raise DataError(f"{path}: an npz file must not be compressed by {packed}; unpack it first")
            what = "truncated: the end of the npz file is missing" if begun else "not an npz file"
            advice = "copy or download it again" if begun else "numpy.savez makes them"
            raise DataError(f"{path}: {what} ({path.stat().st_size} bytes); {advice}")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {n.lower(): Named(f"{path}, {n}", stored[n]) for n in stored.files if _known(n)}
            if not arrays:
                raise DataError(f"{path}: expected x_train, y_train and so on; it holds {', '.join(stored.files)}")
            return arrays
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = _OBJECTS if "bject" in str(error) else error
        raise DataError(f"{path}: cannot be read as arrays of numbers or text: {reason}") from None


def check_finite(X: Named) -> None:
    """DataError, which names the row and the position in it, if a floating number is infinite or not a number, or
    beyond float32, in which it would be infinite. Files larger than memory are not read for this."""
    if X.array.dtype.kind != "f" or X.array.nbytes > memory_bytes():
        return
    for start in range(0, len(X.array), CHECKED_ROWS):
        wrong = np.argwhere(~fits_float32(X.array[start : start + CHECKED_ROWS]))
        if len(wrong):
            row, *place = (int(index) for index in wrong[0])
            value, where = X.array[(start + row, *place)], f", element {', '.join(map(str, place))}" if place else ""
            advice = "; correct it or remove the row" if not np.isfinite(value) else ", too large for float32; scale it"
            raise DataError(f"{X.name}: row {start + row}{where} is {value}{advice}")


def fits_float32(array: np.ndarray) -> np.ndarray:
    """Whether each floating number is finite, and remains so in float32."""
    within: np.ndarray = np.isfinite(array)
    if array.dtype.itemsize > 4:
        largest = np.finfo(np.float32).max
        within &= (array <= largest) & (array >= -largest)  # np.abs would take as much memory as the array
    return within


def find_part(path: Path, arrays: Arrays, part: str) -> tuple[Named, Named | None] | None:
    """Return (inputs, targets or None) of `part`: train, test, or "" for names without a part. None if there are no
    inputs. DataError if two arrays have names of the inputs or targets, or if inputs and targets differ in number."""
    X, y = (_find(path, arrays, kind, part) for kind in (INPUTS, TARGETS))
    if X and y and (X.array.shape[:1] != y.array.shape[:1]):
        raise DataError(f"{X.name} has shape {X.array.shape}, but {y.name} {y.array.shape}; each row needs a target")
    return (X, y) if X else None


def _find(path: Path, arrays: Arrays, kind: tuple[str, ...], part: str) -> Named | None:
    found = [name for name in _aliases(kind, part) if name in arrays]
    if len(found) > 1:
        raise DataError(f"{path}: {' and '.join(found)} could both be meant; keep one")
    return arrays[found[0]] if found else None


def _known(name: str) -> bool:
    return any(name.lower() in _aliases(kind, part) for kind in (INPUTS, TARGETS) for part in PARTS)


def _aliases(kind: tuple[str, ...], part: str) -> list[str]:
    if not part:
        return list(kind)
    return [joined for word in kind for joined in (f"{word}_{part}", f"{part}_{word}", f"{word}{part}")]


def _read_npy(path: Path) -> np.ndarray:
    """Memory-map an npy file, or read one that is compressed."""
    try:
        if packing(path):
            with open_unpacked(path) as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):  # reads to the end, where a checksum is
                    raise ValueError("other bytes follow the array")
        else:
            array = np.lib.format.open_memmap(path, mode="r")
        return array
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, MemoryError) as error:
        if "bject" in str(error):
            raise DataError(f"{path}: {_OBJECTS}") from None
        raise DataError(f"{path}: truncated, or not an npy file: {error}; numpy.save makes them") from None
