"""Whether a launcher started this process, by what it left in the environment. Imports nothing."""

import os

NAMES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")


def launched() -> bool:
    """Whether an MPI launcher started this process."""
    return any(name in os.environ for name in NAMES)
