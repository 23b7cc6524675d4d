"""The outputs of a trained network for new inputs, in float64: those of a row do not depend on the rows beside it.

Shapes: N examples, F features, O outputs.
"""

from typing import Any

import numpy as np

from psgd.backends.layout import Layout
from psgd.backends.numpy.activations import ACTIVATIONS, Scratch

BLOCK_EXAMPLES = 1000  # computed at a time; raised, it takes more memory and fewer calls


@np.errstate(all="ignore")  # the outputs show an overflow
def logits(parameters: np.ndarray, layout: Layout, activation: str, X: Any) -> np.ndarray:
    """Return (N, O), the last layer before its activation. `X`: (N, F), an array or sparse rows of scipy;
    `activation`: of hidden layers."""
    layers = layout.views(parameters.astype(np.float64))
    outputs_NO = np.empty((X.shape[0], layout.sizes[-1]))
    for start in range(0, X.shape[0], BLOCK_EXAMPLES):
        A = X[start : start + BLOCK_EXAMPLES]
        for number, (W_IO, b_O) in enumerate(layers, 1):
            A = A @ W_IO + b_O
            if number < len(layers):
                A = activated(activation, A)
        outputs_NO[start : start + BLOCK_EXAMPLES] = A
    return outputs_NO


@np.errstate(all="ignore")
def activated(activation: str, Z_NO: np.ndarray) -> np.ndarray:
    """Return the activations (N, O) of an activation function, which may overwrite Z_NO."""
    ACTIVATIONS[activation].forward(Z_NO.T, Z_NO.T, Scratch.make(Z_NO.T.shape, Z_NO.dtype))
    return Z_NO
