"""The arrays of one layer's outputs and deltas, for one batch size."""

from collections.abc import Callable
from functools import partial
from typing import final

import numpy as np

from psgd.backends.backend import Outputs
from psgd.backends.numpy.activations import ACTIVATIONS, Action, Activation


@final
class LayerBuffers:
    """Z_OB: logits; A_OB: outputs, in the same memory unless `keeps_logits`; A_IB: outputs and a row of ones, the next
    layer's inputs; D_OB: deltas. Their memory order is (O, B), or (B, O) if `by_example`."""

    multiply: Callable[[np.ndarray, np.ndarray, np.ndarray], object]  # (A, B, out)

    def __init__(
        self,
        outputs: int,
        examples: int,
        activation: Activation,
        dtype: np.dtype,
        by_example: bool = False,
        keeps_logits: bool = False,
    ) -> None:
        if by_example:
            A, D = np.ones((examples, outputs + 1), dtype), np.zeros((examples, outputs + 1), dtype)
            self.A_IB, self.D_OB = A.T, D.T[:-1]
            self.multiply = np.matmul  # np.dot copies arrays with gaps
        else:
            self.A_IB, D = np.ones((outputs + 1, examples), dtype), np.empty((outputs, examples), dtype)
            A, self.D_OB = self.A_IB[:-1], D
            self.multiply = np.ndarray.dot  # with less overhead than np.dot and matmul
        self.A_OB = self.A_IB[:-1]
        Z = np.empty_like(A) if keeps_logits and activation is not ACTIVATIONS["identity"] else A
        self.Z_OB = Z.T[:-1] if by_example else Z
        forward, backward = activation.actions(Z, A, D)
        self.outputs = Outputs(self.A_OB, self.D_OB, self.Z_OB)
        if by_example:  # elementwise work went over the column of ones too
            forward.append(partial(self.A_IB[-1].fill, 1.0))
        self.forward, self.backward = _one_call(forward), _one_call(backward)  # Z to A, and dL/dA to dL/dZ


def _one_call(actions: list[Action]) -> Action:
    def act() -> None:
        for action in actions:
            action()

    return actions[0] if len(actions) == 1 else act
