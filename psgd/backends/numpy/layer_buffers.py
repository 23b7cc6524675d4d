"""Where one layer's outputs and their slopes live, for one number of examples."""

from collections.abc import Callable
from functools import partial
from typing import final

import numpy as np

from psgd.backends.numpy.activations import Act, Activation


@final
class LayerBuffers:
    """Examples are the columns of A and D. In memory a line is an output's, or, if so wanted, an example's."""

    multiply: Callable[[np.ndarray, np.ndarray, np.ndarray], object]  # (A, B, out)
    product_BO: np.ndarray | None = None  # the outputs as they come from the product, if they are to be transposed

    def __init__(
        self, outputs: int, examples: int, activation: Activation, dtype: np.dtype, by_example: bool = False
    ) -> None:
        self.by_example = by_example
        # The outputs and a row of ones: what the next layer gets.
        if by_example:
            A, D = np.ones((examples, outputs + 1), dtype), np.zeros((examples, outputs + 1), dtype)
            self.A_IB, self.D_OB = A.T, D.T[:-1]
            self.multiply = np.matmul  # np.dot copies what has gaps
        else:
            self.A_IB, D = np.ones((outputs + 1, examples), dtype), np.empty((outputs, examples), dtype)
            A, self.D_OB = self.A_IB[:-1], D
            self.multiply = np.dot  # takes less time to begin
        self.A_OB = self.A_IB[:-1]
        forward, backward = activation.acts(A, D)  # Z to A, in place; dL/dA to dL/dZ, in place in D
        if by_example:  # the ones between the outputs went with them
            forward.append(partial(self.A_IB[-1].fill, 1.0))
        self.forward, self.backward = _all(forward), _all(backward)


def _all(acts: list[Act]) -> Act:
    def act() -> None:
        for one in acts:
            one()

    return acts[0] if len(acts) == 1 else act
