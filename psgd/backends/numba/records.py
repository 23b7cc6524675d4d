"""What the kernels of the passes are told about a network. Addresses are whole numbers."""

import numpy as np

IDENTITY, RELU, SIGMOID, TANH, OTHER = range(5)
# What a layer is: its inputs, with the constant one, and its outputs; where in the parameters its weights begin; its
# activation; how many examples it works on; addresses of its outputs and deltas, the line of both, and whether they lie
# by example; whether its product comes by example all the same, and whether its gradient is added in a second pass. The
# first is the batch, whose `outputs` are the features.
_FIELDS = "inputs outputs weights activation examples A D line by_example transposed two_passes"
LAYER = np.dtype([(name, np.int64) for name in _FIELDS.split()])
# Addresses.
_FIELDS = "gemm gemv gemm_in_place exp exp_data tanh tanh_data spare"
ROUTINES = np.dtype([(name, np.int64) for name in _FIELDS.split()])
