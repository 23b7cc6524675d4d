"""The backend of inner loops compiled by numba, with the bits of the numpy backend.

Only jobs/ imports it, when it is chosen: importing numba takes about 0.3 s and 100 MB.
"""
