"""Model files: weights and biases as safetensors, with metadata on how to use them (JSON under the key "psgd")."""

import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from psgd.config import settings as config
from psgd.core.errors import DataError, StorageError
from psgd.core.files import write_atomically
from psgd.core.safetensors_file import write_arrays
from psgd.core.version import __version__
from psgd.data.dataset import Data
from psgd.learners.mlp import MLP
from psgd.learners.model import Model, array_names
from psgd.learners.sparse_linear import SparseLinear

KINDS = ("mlp", "sparse-linear")


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
    try:
        metadata = {"psgd": json.dumps(about, sort_keys=True)}
        write_atomically(path, lambda partial: write_arrays(partial, arrays, metadata))
    except (OSError, SafetensorError) as error:
        raise StorageError(f"cannot write {path}: {error}") from None


def load(path: str | Path) -> Model:
    """Load a model from a file or from a run's directory. DataError if it cannot be read or is not a model of psgd."""
    file = Path(path) / "model.safetensors" if os.path.isdir(path) else Path(path)
    try:
        found = file.is_file()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    if not found:
        raise DataError(f"{file}: no such file; a run writes its model.safetensors when it is done")
    try:
        with safe_open(file, "numpy") as stored:
            text = (stored.metadata() or {}).get("psgd")
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file}: cannot be read as a model: {error}") from None
    about = json.loads(text) if text else {}
    if "preparation" not in about:
        raise DataError(f"{file}: not a model of psgd, or of a version that did not save how inputs are prepared")
    if about.get("kind") not in KINDS:
        raise DataError(f"{file}: a model of kind {about.get('kind')}; this version of psgd reads {', '.join(KINDS)}")
    return Model(about, arrays)
