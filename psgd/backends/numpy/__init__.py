"""The backend of numpy's calls and scipy's BLAS; the reference whose bits others are compared with."""
