"""The CPUs and GPUs of Ray's machines: how many there are, how many are free, and what each actor reserves of a GPU."""

import time
from math import ceil
from typing import Literal

from psgd.group.ray.library import import_ray

Kind = Literal["CPU", "GPU"]  # Ray's names
PARTS = 10_000  # of a GPU: Ray refuses finer ones
RELEASE_SECONDS = 2.0  # within which Ray frees what a job that has ended had reserved; seen: 0.2


def total(kind: Kind) -> int:
    """The number on all machines, in use or free. Ray must be connected; this machine may have none."""
    return int(import_ray().cluster_resources().get(kind, 0))


def free(kind: Kind, wanted: int) -> int:
    """The number of those of which nobody has reserved a part. Waits a moment if they are fewer than `wanted`."""
    ray, deadline = import_ray(), time.monotonic() + RELEASE_SECONDS
    while (found := int(ray.available_resources().get(kind, 0))) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def share(actors: int, gpus: int) -> float:
    """What each of `actors` reserves: a GPU, or the part that lets as few as possible share one; 0 if there is none."""
    return PARTS // ceil(actors / gpus) / PARTS if gpus else 0.0
