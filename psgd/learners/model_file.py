"""Model files: weights and biases as safetensors, with metadata on how to use them (JSON under the key "psgd")."""

import json
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
from safetensors import SafetensorError

from psgd.config import settings as config
from psgd.core.errors import DataError, StorageError
from psgd.core.files import write_atomically
from psgd.core.safetensors_file import StoredArrays, open_arrays, write_arrays
from psgd.core.version import __version__
from psgd.data.dataset import Data
from psgd.learners.mlp import MLP
from psgd.learners.model import Model
from psgd.learners.model_about import About, AboutParameters, read_about
from psgd.learners.parameter_tree import ParameterTree
from psgd.learners.saved_structure import build, structure_of
from psgd.learners.sparse_linear import SparseLinear


def array_names(kind: str, layers: int) -> list[tuple[str, str]]:
    """Return the names of a model file's arrays, (weights, biases) of each layer."""
    if kind == "sparse-linear":
        return [("weights", "bias")]
    return [(f"layers.{number}.weights", f"layers.{number}.biases") for number in range(1, layers + 1)]


def write_model(
    path: Path, model: config.Model, learner: MLP | SparseLinear, parameters: np.ndarray, data: Data
) -> None:
    """Write the weights (inputs, outputs) and biases of each layer, and metadata. StorageError if that fails."""
    kind, layers = "sparse-linear" if isinstance(learner, SparseLinear) else "mlp", learner.layout.views(parameters)
    names = array_names(kind, len(layers))
    arrays = {name: array for both in zip(names, layers, strict=True) for name, array in zip(*both, strict=True)}
    about = {
        "psgd": __version__,
        "kind": kind,
        "sizes": list(learner.layout.sizes),
        "model": model.model_dump(),
        "classes": data.preparation.get("classes") or list(range(data.train.classes)),  # names; [] in regression
        "preparation": {key: value for key, value in data.preparation.items() if key != "classes"},
    }
    _write(path, arrays, about)


def write_parameters(path: Path, structure: ParameterTree, parameters: np.ndarray) -> None:
    """Write the parameters (P,) of a user's own function, with their structure. StorageError if that fails."""
    arrays = {f"parameters{leaf.path}": parameters[leaf.where].reshape(leaf.shape) for leaf in structure.leaves}
    _write(path, arrays, about_parameters(structure.views(parameters)))


def about_parameters(parameters: Any) -> dict[str, Any]:
    """Describe the parameters of a user's own function. UsageError if a model file cannot keep their structure."""
    return {"psgd": __version__, "kind": "parameters", "structure": structure_of(parameters).model_dump()}


def _write(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    try:
        metadata = {"psgd": json.dumps(about, sort_keys=True)}
        write_atomically(path, lambda partial: write_arrays(partial, arrays, metadata))
    except (OSError, SafetensorError) as error:
        raise StorageError(f"cannot write {path}: {error}") from None


def load(path: str | Path) -> Model | Any:
    """Load a model from a file or from a run's directory; of a run of `psgd.fit`, the parameters in the structure in
    which they were given. DataError if it cannot be read or is not a model of psgd."""
    file = Path(path) / "model.safetensors" if os.path.isdir(path) else Path(path)
    try:
        regular = stat.S_ISREG(os.stat(file).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character in the name
        raise DataError(f"{file}: no such file; a run writes its model.safetensors when it is done") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    if not regular:
        raise DataError(f"{file}: not a file; a run writes its model.safetensors when it is done")
    try:
        with open_arrays(file) as stored:
            text = stored.metadata.get("psgd")
            if text is None:
                raise DataError(
                    f"{file}: not a model of psgd: it has no metadata 'psgd'; give a run's model.safetensors"
                )
            about = read_about(text)
            if isinstance(about, AboutParameters):
                return _own_parameters(stored, about)
            return Model(about, about.preparation.model_dump(exclude_none=True), _parameters(stored, about))
    except OSError as error:
        raise DataError(f"{file}: cannot be read as a model: {error.strerror or error}") from None
    except ValueError as error:
        what = f"cannot be read as a model: {' '.join(str(error).split())[:300]}"  # it may quote the file
        raise DataError(f"{file}: {what}; if a run wrote it, with this version of psgd, copy it again") from None


def load_model(path: str | Path) -> Model:
    """Load a model that can predict. DataError if `load` raises it, or the file has the parameters of a user's own
    function, which psgd does not know."""
    model = load(path)
    if not isinstance(model, Model):
        raise DataError(
            f"{path}: the parameters of your own function, trained by psgd.fit, with which psgd cannot predict; in "
            f"Python, psgd.load({str(path)!r}) returns them"
        )
    return model


def _parameters(stored: StoredArrays, about: About) -> np.ndarray:
    """Read the parameters (P,). ValueError if arrays are missing, have other shapes or dtypes, or are not finite."""
    layers, read = list(pairwise(about.sizes)), _Reader(stored)
    names = array_names(about.kind, len(layers))
    arrays: list[np.ndarray] = []
    for pair, (inputs, outputs) in zip(names, layers, strict=True):
        arrays += [
            read(name, shape).reshape(-1) for name, shape in zip(pair, ((inputs, outputs), (outputs,)), strict=True)
        ]
    return np.concatenate(arrays)


def _own_parameters(stored: StoredArrays, about: AboutParameters) -> Any:
    """Read the parameters of a user's own function. ValueError as for those of a model."""
    read = _Reader(stored)
    return build(about.structure, lambda name, shape: read(name, shape).copy())


@final
class _Reader:
    """Reads arrays of a model. ValueError if one is missing, has another shape or dtype, or is not finite."""

    def __init__(self, stored: StoredArrays) -> None:
        self._stored = stored
        self._dtype: np.dtype | None = None  # of the first array

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        array = self._stored.read(name, shape)
        self._dtype = array.dtype if self._dtype is None else self._dtype
        if array.dtype.kind != "f" or array.dtype != self._dtype:
            raise ValueError(f"the array {name} holds {array.dtype}; all weights must be float32, or all float64")
        if not np.isfinite(array).all():
            raise ValueError(f"the array {name} has values that are not finite")
        return array
