"""Backends: they execute a learner's passes, an optimizer's update and the gathering of rows.

`backend.py` is the protocol; `numpy` and `numba` implement it with the same bits. Only jobs/ chooses between them.
"""
