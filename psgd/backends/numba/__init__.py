"""The inner loops that numba compiles, and what compiles them: `python -m psgd.kernels`.

Nothing of psgd imports them, but for `records`: `code_cache` has a process of its own compile them, whose memory is
given back, and `machine_code` loads what comes of it.
"""
