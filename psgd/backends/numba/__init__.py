"""The backend of inner loops compiled by numba, with the bits of numpy's.

Only jobs/ imports it, and only where it is chosen: numba takes about 0.3 s and 100 MB to import.
"""
