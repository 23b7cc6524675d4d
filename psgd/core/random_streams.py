"""Random streams, each keyed by what it is for: never seed + worker."""

import numpy as np

PURPOSES = (
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
    """The stream of `purpose` (one of PURPOSES), `which` of them: the same on every process and machine."""
    key = (PURPOSES.index(purpose), *which)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
