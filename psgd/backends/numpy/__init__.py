"""The backend of numpy's calls and scipy's BLAS. Its bits are the reference for others."""
