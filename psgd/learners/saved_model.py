"""A trained model, read from its file, which is all it takes: raw inputs in, classes or values out."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from safetensors import SafetensorError, safe_open

from psgd.core.errors import DataError, UsageError
from psgd.data.sources.array_files import Named
from psgd.data.sources.arrays import as_matrix
from psgd.data.sources.column import Column
from psgd.data.sources.preparation import missing_notes, prepare, unseen_notes
from psgd.data.sources.table import collectors_of
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP

KINDS = ("mlp", "sparse-linear")  # the latter is an MLP without hidden layers, whose inputs are dense here
BLOCK = 1000  # examples at a time: as many as in evaluations while training, so that the bits are theirs
PROBABLE = ("cross-entropy", "binary-cross-entropy")

Inputs = np.ndarray | Sequence[Mapping[str, Any]]  # raw: as in the training data; rows of a table by column name


class Prepared(NamedTuple):
    X: np.ndarray  # (N, F), to be multiplied by `scale`
    scale: float
    missing: list[str]  # for people: what was done about missing values
    unseen: list[str]  # and about categories that training did not meet


@final
class Model:
    """`classes`: names, none in regression; `inputs`: how many; `preparation`: of raw inputs, as plain JSON.

    Not to be used by several threads at a time."""

    def __init__(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        model, sizes = about["model"], tuple(about["sizes"])
        names = [(f"layers.{number}.weights", f"layers.{number}.biases") for number in range(1, len(sizes))]
        if about["kind"] == "sparse-linear":
            names = [("weights", "bias")]
        dtype = arrays[names[0][0]].dtype
        # Its loss is not asked for: this one only predicts.
        self._network = MLP(sizes, model["activation"], model["output"], LOSSES["squared-error"], dtype)
        self._parameters = np.empty(self._network.size, dtype)
        for number, (W_IO, b_O) in enumerate(self._network.layout.views(self._parameters), 1):
            weights, biases = names[number - 1]
            W_IO[:], b_O[:] = arrays[weights], arrays[biases]
        self.classes: list[int] | list[str] = about["classes"]
        self.preparation: dict[str, Any] = about["preparation"]
        self.loss: str = model["loss"]
        self.inputs = int(sizes[0])

    @property
    def probable(self) -> bool:
        """Whether its outputs are probabilities."""
        return bool(self.classes) and self.loss in PROBABLE

    def predict(self, X: Inputs) -> np.ndarray:
        """The class of each example by name (N,); in regression its value, (N,) or (N, outputs)."""
        return self.decide(self.outputs(X))

    def predict_probabilities(self, X: Inputs) -> np.ndarray:
        """(N, classes), in the order of `classes`. UsageError if this model has none."""
        return self.probabilities(self.outputs(X))

    def outputs(self, X: Inputs) -> np.ndarray:
        """Of the network (N, O); of a single output for two classes, the second's; in regression, values."""
        prepared = self.prepare(X)
        for note in prepared.unseen:  # missing values are usual
            warnings.warn(note, stacklevel=3)
        return self.outputs_of(prepared)

    def prepare(self, X: Inputs) -> Prepared:
        """Raw inputs as the network wants them, and what was done to them. DataError if they do not fit."""
        if self.preparation.get("kind") == "table":
            if isinstance(X, np.ndarray):
                names = ", ".join(about["name"] for about in self.preparation["columns"])
                raise UsageError(f"this model was trained on a table; give rows as dicts with the columns {names}")
            return self.prepare_columns(_columns(X, self.preparation))
        matrix = as_matrix(Named("X", np.asarray(X)))
        if matrix.shape[1] != self.inputs:
            shape = self.preparation.get("shape") or [self.inputs]
            raise DataError(
                f"X has shape {np.asarray(X).shape}; this model needs (examples, {', '.join(map(str, shape))})"
            )
        if self.preparation.get("unit"):
            norms = np.sqrt(np.square(matrix, dtype=np.float64).sum(axis=1, keepdims=True))
            matrix = matrix / np.where(norms == 0, 1.0, norms)
        return Prepared(matrix, self.preparation.get("scale", 1.0), [], [])

    def prepare_columns(self, columns: Mapping[str, Column]) -> Prepared:
        """The same, of a table's columns."""
        learnt = self.preparation["columns"]
        prepared = prepare(learnt, columns)
        return Prepared(prepared.inputs, 1.0, missing_notes(learnt, prepared), unseen_notes(learnt, prepared))

    def outputs_of(self, prepared: Prepared) -> np.ndarray:
        X, dtype = prepared.X, self._parameters.dtype
        outputs_NO = np.empty((len(X), self._network.layout.sizes[-1]), dtype)
        X_BI = np.ones((min(BLOCK, len(X)), self.inputs + 1), dtype)
        with np.errstate(all="ignore"):  # as in training; what overflows is seen in the outputs
            for start in range(0, len(X), BLOCK):
                block = X[start : start + BLOCK]
                inputs = X_BI[: len(block), :-1]
                if prepared.scale != 1.0:
                    np.multiply(block, dtype.type(prepared.scale), out=inputs, dtype=dtype, casting="same_kind")
                else:
                    np.copyto(inputs, block, casting="same_kind")
                outputs_NO[start : start + BLOCK] = self._network.predict(self._parameters, X_BI[: len(block)])
        target = self.preparation.get("target", {})
        return outputs_NO if self.classes else outputs_NO * target.get("deviation", 1.0) + target.get("mean", 0.0)

    def decide(self, outputs_NO: np.ndarray) -> np.ndarray:
        """What `predict` gives, of outputs."""
        if not self.classes:
            return outputs_NO[:, 0] if outputs_NO.shape[1] == 1 else outputs_NO
        decided: np.ndarray = np.array(self.classes)[self.places(outputs_NO)]
        return decided

    def places(self, outputs_NO: np.ndarray) -> np.ndarray:
        """The classes (N,) as places in `classes`."""
        if outputs_NO.shape[1] > 1:
            largest: np.ndarray = np.argmax(outputs_NO, axis=1)
            return largest
        # a margin, or a probability
        places: np.ndarray = (outputs_NO[:, 0] > (0.0 if self.loss == "hinge" else 0.5)).astype(np.int64)
        return places

    def probabilities(self, outputs_NO: np.ndarray) -> np.ndarray:
        if not self.probable:
            what = f"the loss {self.loss}" if self.classes else "regression"
            raise UsageError(f"this model was trained with {what}, which gives no probabilities; use outputs")
        return np.hstack([1.0 - outputs_NO, outputs_NO]) if outputs_NO.shape[1] == 1 else outputs_NO


def load(path: str | Path) -> Model:
    """The model in a file, or in the directory of a run. DataError if it cannot be read or is none of psgd's."""
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
    if not file.is_file():
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
