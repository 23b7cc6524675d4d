"""What executes a step: numpy, or compiled code with the same bits. The only rooms that call numba and BLAS by hand."""
