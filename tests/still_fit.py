"""Data, and a gradient of zero."""

import numpy as np

DATA = np.arange(12.0).reshape(6, 2), np.zeros(6)


def still(parameters, X, y):
    return np.zeros(2)
