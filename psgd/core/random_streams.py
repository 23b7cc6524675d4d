"""Independent random streams of one seed, each keyed by its purpose. Keys are never made by adding to the seed."""

import numpy as np

PURPOSES = (  # a purpose's place is its key: append only
    "initial parameters",
    "shuffle",
    "hold-out",
    "synthetic",
    "digits",
    "partition",
    "local shuffle",
    "replacement",
)


def stream(seed: int, purpose: str, *which: int) -> np.random.Generator:
    """Return the generator for `purpose` (one of PURPOSES) and `which` (a worker, an epoch, ...): the same in every
    process and on every machine."""
    key = (PURPOSES.index(purpose), *which)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
