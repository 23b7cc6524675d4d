"""The inner loops that numba compiles, and what compiles them: `python -m psgd.kernels`.

Nothing of psgd imports them, but for `records`: `machine_code` has a process of its own compile them, whose memory is
given back, and loads what comes of it.
"""
