"""Set one BLAS thread before numpy is imported, as every worker does, and keep tests off the network."""

import os

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()
os.environ["PSGD_MIRROR"] = "http://127.0.0.1:9"  # nothing listens there: downloads fail at once
