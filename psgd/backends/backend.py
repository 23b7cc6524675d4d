"""The seam between what is computed and what computes it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from psgd.backends.layout import Layout


class Network(NamedTuple):
    """What a backend has to know of a network."""

    layout: Layout
    activations: tuple[str, ...]  # one a layer
    dtype: np.dtype
    natural: bool  # slopes of the last layer are given as dL/dZ; otherwise as dL/dA


Outputs = tuple[np.ndarray, np.ndarray]  # of the last layer: A_OB, and the slopes D_OB


class Passes(Protocol):
    """The passes through a network, over buffers of its own: one for each learner.

    X_BI is a batch of inputs with a column of ones behind them. `gradient` and `descend` follow a forward pass over the
    same batch, go back from the slopes that stand in its D_OB, and overwrite them.
    """

    def forward(self, parameters: np.ndarray, X_BI: np.ndarray, T_BO: np.ndarray | None = None) -> Outputs:
        """Compute A; and D = A - T, the slope of most losses, if T is given. The buffers are the same for every batch
        of as many examples."""

    def gradient(self, parameters: np.ndarray, X_BI: np.ndarray, out: np.ndarray) -> None:
        """Write the mean gradient over the batch to `out` (P,)."""

    def descend(self, parameters: np.ndarray, X_BI: np.ndarray, alpha: float, keep: float) -> None:
        """W <- keep W + alpha A D^T in every layer, in place; `keep` leaves the biases alone."""


Array = np.ndarray
Factors = tuple[float, ...]
# (p, g, state, factors, new_p, new_state): one step of an optimizer's rule for parameters p (n,), gradient g (n,),
# which may be destroyed, and state (rows, n). The new values go to new_p and new_state, which may be p and state.
Update = Callable[[Array, Array, Array, Factors, Array, Array], None]


class Backend(Protocol):
    name: str

    def passes(self, network: Network) -> Passes: ...

    def update(self, rule: str) -> Update:
        """The elementwise loop of the rule of that name (see optimizers/rules.py)."""

    def gather(self, inputs: np.ndarray, rows: np.ndarray | slice, scale: float, X_BI: np.ndarray) -> None:
        """Write inputs[rows] * scale and a column of ones to X_BI (B, F + 1); inputs (N, F). The rows must exist."""
