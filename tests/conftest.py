"""One BLAS thread, set before numpy is imported, as every worker has it."""

from psgd.blas import limit_before_numpy

limit_before_numpy()
