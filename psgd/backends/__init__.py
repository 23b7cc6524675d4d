"""What executes a learner's passes, an optimizer's update, the gathering of rows and an epoch's permutation.

`backend.py` is the protocol; `numpy` and `numba` implement it with the same bits. Only jobs/ chooses between them.
"""
