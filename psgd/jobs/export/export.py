"""Writes the model of a run in another format. Nothing that is there is overwritten."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from psgd.core.errors import DataError, StorageError, UsageError
from psgd.core.files import refuse_existing, write_atomically
from psgd.jobs.export.arrays import model_arrays
from psgd.jobs.export.onnx_model import onnx_model
from psgd.jobs.export.sklearn_pipeline import sklearn_pipeline
from psgd.learners.model import Model
from psgd.learners.model_file import load

Write = Callable[[Path], None]


def _onnx(model: Model) -> Write:
    made: bytes = onnx_model(model).SerializeToString()

    def write(path: Path) -> None:
        path.write_bytes(made)

    return write


def _npz(model: Model) -> Write:
    arrays = model_arrays(model)

    def write(path: Path) -> None:
        with open(path, "wb") as file:  # by its name alone, numpy would append .npz
            np.savez(file, allow_pickle=False, **arrays)

    return write


def _sklearn(model: Model) -> Write:
    made = sklearn_pipeline(model)

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            pickle.dump(made, file, protocol=5)

    return write


# Name of a format -> (the end of a file's name, what makes the writer of a model).
FORMATS: dict[str, tuple[str, Callable[[Model], Write]]] = {
    "onnx": (".onnx", _onnx),
    "npz": (".npz", _npz),
    "sklearn": (".pkl", _sklearn),
}


def export(run: Path, to: str, output: Path | None) -> Path:
    """Write the model of a run, or a model file, in the format `to`; returns the path, which by default is the name of
    the run in the working directory. UsageError if the format cannot hold the model, its package is missing, or the
    file exists; DataError if there is no model, or its numbers overflow; StorageError if it cannot be written."""
    ending, writer = FORMATS[to]
    name = run.absolute().name if run.is_dir() else run.stem
    path = output or Path(f"{name}{ending}")
    refuse_existing(path)
    model = load(run)
    if not isinstance(model, Model):
        raise UsageError(f"{run} holds the parameters of a user's own function; psgd.load returns them, as they are")
    try:
        with np.errstate(over="raise"):
            write = writer(model)
        write_atomically(path, write)
    except FloatingPointError:
        raise DataError(f"{run}: its numbers overflow in --to {to}; use --to npz, or train on smaller values") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from None
    return path
