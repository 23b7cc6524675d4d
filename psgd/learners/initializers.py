"""Initial parameters, always drawn by numpy."""

import numpy as np

from psgd.backends.layout import Layout
from psgd.core.random_streams import stream


def initial(layout: Layout, initializer: str, constant: float, seed: int, dtype: np.dtype) -> np.ndarray:
    """Return parameters (P,). xavier: uniform, Glorot & Bengio 2010 eq. 16; he: He et al. 2015 eq. 10; normal: N(0, 1),
    biases too; constant: all `constant`."""
    parameters = np.zeros(layout.size, dtype)
    draw = stream(seed, "initial parameters")
    for W_IO, b_O in layout.views(parameters):
        inputs, outputs = W_IO.shape
        if initializer == "xavier":
            bound = np.sqrt(6.0 / (inputs + outputs))
            W_IO[:] = draw.uniform(-bound, bound, W_IO.shape)
        elif initializer == "he":
            W_IO[:] = draw.normal(0.0, np.sqrt(2.0 / inputs), W_IO.shape)
        elif initializer == "normal":
            W_IO[:] = draw.normal(size=W_IO.shape)
            b_O[:] = draw.normal(size=outputs)
        else:
            W_IO[:] = b_O[:] = constant
    return parameters
