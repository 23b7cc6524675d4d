"""The protocol of backends."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from psgd.backends.layout import Layout


class Network(NamedTuple):
    layout: Layout
    activations: tuple[str, ...]  # of each layer
    dtype: np.dtype
    canonical_loss: bool  # whether a pass back begins with dL/dZ of the last layer; otherwise with dL/dA


class Outputs(NamedTuple):
    """The last layer's arrays."""

    A_OB: np.ndarray  # activations
    D_OB: np.ndarray  # deltas: dL/dA, which a pass back turns into dL/dZ
    Z_OB: np.ndarray  # logits, from which a canonical loss is computed; the activations if the loss is not canonical


class Passes(Protocol):
    """The passes through a network, with buffers of their own: one object for each learner.

    X_BI is a batch of inputs whose last column is ones. `gradient` and `descend` follow a forward pass over the same
    batch: they go back from the deltas in its D_OB, and overwrite them.
    """

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray, T_BO: np.ndarray | None = None) -> Outputs:
        """Compute A, and D = A - T (the delta of most losses) if T is given. All batches of one size share buffers."""

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        """Write the mean gradient over the batch to `out` (P,)."""

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        """W <- keep W + alpha A D^T in every layer, in place; biases are not multiplied by `keep`."""


Array = np.ndarray
Factors = tuple[float, ...]
# (p, g, state, factors, new_p, new_state): one step of an optimizer's rule for parameters p (n,), gradient g (n,) and
# state (rows, n). Writes new_p and new_state, which may be p and state; g may be overwritten.
Update = Callable[[Array, Array, Array, Factors, Array, Array], None]


class Backend(Protocol):
    name: str

    def passes(self, network: Network) -> Passes: ...

    def update(self, rule: str) -> Update:
        """Return the elementwise loop of a rule, by its name in optimizers/rules.py."""

    def gather(self, inputs: np.ndarray, rows: np.ndarray | slice, scale: float, X_BI: np.ndarray) -> None:
        """Write inputs[rows] * scale, then a column of ones, to X_BI (B, F + 1); inputs (N, F). The rows must exist."""
