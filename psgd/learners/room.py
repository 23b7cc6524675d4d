"""Where one layer's outputs and their slopes live, for one number of examples."""

from typing import final

import numpy as np

from psgd.learners.activations import Activation


@final
class Room:
    product_BO: np.ndarray | None = None  # the outputs as they come from the product, if they are to be transposed

    def __init__(self, outputs: int, examples: int, activation: Activation, dtype: np.dtype) -> None:
        self.A_IB = np.ones((outputs + 1, examples), dtype)  # the outputs and a row of ones: what the next layer gets
        self.A_OB = self.A_IB[:-1]
        self.D_OB = np.empty((outputs, examples), dtype)
        self._activation, self._parts = activation, activation.parts(self.A_OB, self.D_OB)

    def forward(self) -> None:
        """Z to A, in place."""
        for A, _, space in self._parts:
            self._activation.forward(A, space)

    def backward(self) -> None:
        """dL/dA to dL/dZ, in place in D."""
        for A, D, space in self._parts:
            self._activation.backward(A, D, space)
