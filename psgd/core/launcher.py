"""Detecting an MPI launcher by the environment variables that it sets. Imports neither MPI nor numpy."""

import os

_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")


def launched() -> bool:
    """Return whether an MPI launcher started this process."""
    return any(name in os.environ for name in _VARIABLES)
