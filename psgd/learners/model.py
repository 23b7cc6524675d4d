"""A trained model, which predicts classes or values from raw inputs, prepared as in training."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from psgd.backends.numpy.backend import NUMPY
from psgd.core.errors import DataError, UsageError
from psgd.data.sources.array_files import Named
from psgd.data.sources.arrays import as_matrix
from psgd.data.sources.column import Column
from psgd.data.sources.csv_table import collectors_of
from psgd.data.sources.preparation import PreparedInputs, prepare
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP

# Examples computed at a time. As many as in an evaluation: products of another size may have other bits.
BLOCK_EXAMPLES = 1000
PROBABILISTIC = ("cross-entropy", "binary-cross-entropy")

# Raw inputs as in the training data: an array, or rows of a table as mappings from column names to values.
Inputs = np.ndarray | Sequence[Mapping[str, Any]]


def array_names(kind: str, layers: int) -> list[tuple[str, str]]:
    """Return the names of a model file's arrays, (weights, biases) of each layer."""
    if kind == "sparse-linear":
        return [("weights", "bias")]
    return [(f"layers.{number}.weights", f"layers.{number}.biases") for number in range(1, layers + 1)]


@final
class Model:
    """`classes`: their names, empty in regression; `inputs`: the number of features; `preparation`: how raw inputs
    become features, as plain JSON. Not for use by several threads at a time."""

    def __init__(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        model, sizes = about["model"], tuple(about["sizes"])
        names = array_names(about["kind"], len(sizes) - 1)
        dtype = arrays[names[0][0]].dtype
        # The loss does not matter for predictions. A sparse linear model is an MLP without hidden layers here.
        self._network = MLP(sizes, model["activation"], model["output"], LOSSES["squared-error"], dtype)
        self._parameters = np.empty(self._network.size, dtype)
        for (weights, biases), (W_IO, b_O) in zip(names, self._network.layout.views(self._parameters), strict=True):
            W_IO[:], b_O[:] = arrays[weights], arrays[biases]
        self.classes: list[int] | list[str] = about["classes"]
        self.preparation: dict[str, Any] = about["preparation"]
        self.loss: str = model["loss"]
        self.inputs = int(sizes[0])

    @property
    def probabilistic(self) -> bool:
        """Whether the outputs are probabilities of classes."""
        return bool(self.classes) and self.loss in PROBABILISTIC

    def predict(self, X: Inputs) -> np.ndarray:
        """Return the name of each example's class (N,); in regression its value, (N,) or (N, outputs)."""
        return self.decide(self.outputs(X))

    def predict_probabilities(self, X: Inputs) -> np.ndarray:
        """Return probabilities (N, classes), in the order of `classes`. UsageError if this model gives none."""
        return self.probabilities(self.outputs(X))

    def outputs(self, X: Inputs) -> np.ndarray:
        """Return the network's outputs (N, O): values in regression; for two classes, possibly the second's alone."""
        prepared = self.prepare(X)
        for note in prepared.unseen:  # there are no warnings of missing values, which are usual
            warnings.warn(note, stacklevel=3)
        return self.outputs_of(prepared)

    def prepare(self, X: Inputs) -> PreparedInputs:
        """Convert raw inputs to inputs of the network. DataError if they do not fit."""
        if self.preparation.get("kind") == "table":
            if isinstance(X, np.ndarray):
                names = ", ".join(about["name"] for about in self.preparation["columns"])
                raise UsageError(f"this model was trained on a table; give rows as dicts with the columns {names}")
            return prepare(self.preparation["columns"], _columns(X, self.preparation))
        matrix = as_matrix(Named("X", np.asarray(X)))
        if matrix.shape[1] != self.inputs:
            shape = self.preparation.get("shape") or [self.inputs]
            raise DataError(
                f"X has shape {np.asarray(X).shape}; this model needs (examples, {', '.join(map(str, shape))})"
            )
        if self.preparation.get("unit"):
            norms = np.sqrt(np.square(matrix, dtype=np.float64).sum(axis=1, keepdims=True))
            matrix = matrix / np.where(norms == 0, 1.0, norms)
        return PreparedInputs(matrix, self.preparation.get("scale", 1.0), [], [])

    def outputs_of(self, prepared: PreparedInputs) -> np.ndarray:
        """Return outputs (N, O) for prepared inputs; in regression in the units of the target."""
        X, dtype = prepared.X, self._parameters.dtype
        outputs_NO = np.empty((len(X), self._network.layout.sizes[-1]), dtype)
        X_BI = np.empty((min(BLOCK_EXAMPLES, len(X)), self.inputs + 1), dtype)
        with np.errstate(all="ignore"):  # as in training: the outputs show an overflow
            for start in range(0, len(X), BLOCK_EXAMPLES):
                rows = slice(start, min(start + BLOCK_EXAMPLES, len(X)))
                batch = X_BI[: rows.stop - start]
                NUMPY.gather(X, rows, prepared.scale, batch)
                outputs_NO[rows] = self._network.predict(self._parameters, batch)
        target = self.preparation.get("target", {})
        return outputs_NO if self.classes else outputs_NO * target.get("deviation", 1.0) + target.get("mean", 0.0)

    def decide(self, outputs_NO: np.ndarray) -> np.ndarray:
        """Convert outputs to names of classes, or values, as `predict` returns them."""
        if not self.classes:
            return outputs_NO[:, 0] if outputs_NO.shape[1] == 1 else outputs_NO
        decided: np.ndarray = np.array(self.classes)[self.class_indices(outputs_NO)]
        return decided

    def class_indices(self, outputs_NO: np.ndarray) -> np.ndarray:
        """Convert outputs to indices (N,) in `classes`."""
        indices: np.ndarray
        if outputs_NO.shape[1] > 1:
            indices = np.argmax(outputs_NO, axis=1)
        else:  # a margin, or a probability
            indices = (outputs_NO[:, 0] > (0.0 if self.loss == "hinge" else 0.5)).astype(np.int64)
        return indices

    def probabilities(self, outputs_NO: np.ndarray) -> np.ndarray:
        """Convert outputs to probabilities (N, classes). UsageError if this model gives none."""
        if not self.probabilistic:
            what = f"the loss {self.loss}" if self.classes else "regression"
            raise UsageError(f"this model was trained with {what}, which gives no probabilities; use outputs")
        return np.hstack([1.0 - outputs_NO, outputs_NO]) if outputs_NO.shape[1] == 1 else outputs_NO


def _columns(rows: Sequence[Mapping[str, Any]], preparation: Mapping[str, Any]) -> dict[str, Column]:
    if not rows:
        raise DataError("no rows to predict")
    collectors = collectors_of(preparation, False)
    for number, row in enumerate(rows):
        for collector in collectors:
            if collector.name not in row:
                raise DataError(f"row {number} has no {collector.name!r}; give None where it is missing")
            value = row[collector.name]
            try:
                collector.add("" if value is None else str(value))
            except ValueError as error:
                raise DataError(f"row {number}: {error}") from None
    return {collector.name: collector.column() for collector in collectors}
