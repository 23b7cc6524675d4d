"""A trained model, which predicts classes or values from raw inputs, prepared as in training."""

import warnings
from typing import Any, NamedTuple, final

import numpy as np

from psgd.backends.numpy.backend import NUMPY
from psgd.core.errors import DataError, UsageError
from psgd.data.dataset import Dataset, Examples
from psgd.data.sources.preparation import PreparedInputs
from psgd.data.sparse import SparseDataset
from psgd.learners.losses import LOSSES
from psgd.learners.mlp import MLP
from psgd.learners.model_about import About
from psgd.learners.raw_inputs import Inputs, prepare_array, prepare_sparse, prepare_table
from psgd.learners.sparse_linear import SparseLinear

# Examples computed at a time. As many as in an evaluation: products of another size may have other bits.
BLOCK_EXAMPLES = 1000
PROBABILISTIC = ("cross-entropy", "binary-cross-entropy")


class Layer(NamedTuple):
    W_IO: np.ndarray  # weights (inputs, outputs)
    b_O: np.ndarray  # biases (outputs,)
    activation: str


@final
class Model:
    """`classes`: their names, empty in regression; `inputs`: the number of features; `preparation`: how raw inputs
    become features, as plain JSON. Not for use by several threads at a time."""

    def __init__(self, about: About, preparation: dict[str, Any], parameters: np.ndarray) -> None:
        network, sizes, dtype = about.model, tuple(about.sizes), parameters.dtype
        # The loss does not matter for predictions.
        self._network = MLP(sizes, network.activation, network.output, LOSSES["squared-error"], dtype)
        self._sparse: SparseLinear | None = None  # the same network for sparse rows: the parameters lie in one order
        if about.kind == "sparse-linear":
            self._sparse = SparseLinear(sizes[0], network.output, LOSSES["squared-error"], dtype)
        self._parameters = parameters
        self.about = about
        self.classes: list[int | str] = about.classes
        self.preparation = preparation
        self.loss: str = network.loss
        self.inputs = sizes[0]

    @property
    def sparse(self) -> bool:
        """Whether the model was trained on sparse rows."""
        return self._sparse is not None

    @property
    def layers(self) -> list[Layer]:
        """The layers of the network, the first first: views of its parameters."""
        both = zip(self._network.layout.views(self._parameters), self._network.network.activations, strict=True)
        return [Layer(*weights, activation) for weights, activation in both]

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters."""
        return self._parameters.dtype

    @property
    def units(self) -> tuple[float, float]:
        """Deviation and mean of the target: outputs times the first, plus the second, are in its units."""
        target = self.preparation.get("target", {})
        return target.get("deviation", 1.0), target.get("mean", 0.0)

    @property
    def value_dtype(self) -> np.dtype:
        """The dtype of a regression's values: float64 if they had been standardised. Near 1.7e9, float32 has steps of
        128."""
        return np.dtype(np.float64) if "target" in self.preparation else self.dtype

    @property
    def threshold(self) -> float:
        """A single output above it predicts the second of two classes: of a margin, or of a probability."""
        return 0.0 if self.loss == "hinge" else 0.5

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
        if self.preparation["kind"] == "table":
            return prepare_table(X, self.preparation)
        if not hasattr(X, "tocsr"):
            return prepare_array(X, self.preparation, self.inputs)
        if self._sparse is None:
            raise UsageError("X is sparse, but this model was trained on dense arrays; give X.toarray()")
        return prepare_sparse(X, self.preparation, self.inputs)

    def outputs_of(self, prepared: PreparedInputs) -> np.ndarray:
        """Return outputs (N, O) for prepared inputs; in regression in the units of the target. DataError if a row's are
        not finite: its inputs are far beyond those of training."""
        X, dtype, outputs = prepared.X, self._parameters.dtype, self._network.layout.sizes[-1]
        data: Examples = (
            X if isinstance(X, SparseDataset) else Dataset(X, np.zeros((len(X), 1), dtype), 0, prepared.scale)
        )
        learner = self._sparse if isinstance(X, SparseDataset) else self._network
        assert learner is not None, "checked by prepare"
        outputs_NO = np.empty((len(X), outputs), dtype)
        read = data.reader(min(BLOCK_EXAMPLES, len(X)), 1, dtype, NUMPY)
        with np.errstate(all="ignore"):  # the outputs show an overflow
            for start in range(0, len(X), BLOCK_EXAMPLES):
                rows = slice(start, min(start + BLOCK_EXAMPLES, len(X)))
                outputs_NO[rows] = learner.predict(self._parameters, read(rows)[0])
            if not self.classes:
                deviation, mean = self.units
                outputs_NO = outputs_NO.astype(self.value_dtype) * deviation + mean
        wrong = np.flatnonzero(~np.isfinite(outputs_NO).all(axis=1))
        if len(wrong):
            raise DataError(f"row {wrong[0]}, counted from 0: its inputs are so large that the outputs are not finite")
        return outputs_NO

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
        else:
            indices = (outputs_NO[:, 0] > self.threshold).astype(np.int64)
        return indices

    def probabilities(self, outputs_NO: np.ndarray) -> np.ndarray:
        """Convert outputs to probabilities (N, classes), whose sum is 1: of several sigmoids, each one's share, as
        scikit-learn's OneVsRestClassifier has it. UsageError if this model gives none."""
        if not self.probabilistic:
            what = f"the loss {self.loss}" if self.classes else "regression"
            raise UsageError(f"this model was trained with {what}, which gives no probabilities; use outputs")
        if outputs_NO.shape[1] == 1:
            return np.hstack([1.0 - outputs_NO, outputs_NO])
        if self.layers[-1].activation != "sigmoid":
            return outputs_NO
        positive_NO = outputs_NO + np.finfo(outputs_NO.dtype).tiny  # of a row of zeros, each class has the same share
        shares: np.ndarray = positive_NO / positive_NO.sum(axis=1, keepdims=True)
        return shares
