"""One BLAS thread, set before numpy is imported, as every worker has it; and no test reaches out to the net."""

import os

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()
os.environ["PSGD_MIRROR"] = "http://127.0.0.1:9"  # nobody listens there: downloads fail at once
