"""The GPUs of Ray's machines: how many there are, and what each actor reserves of them."""

import time
from math import ceil

from psgd.group.ray.library import import_ray

PARTS = 10_000  # of a GPU: Ray refuses finer ones
RELEASE_SECONDS = 2.0  # within which Ray frees what a job that has ended had reserved; seen: 0.2


def gpu_count() -> int:
    """The GPUs of all machines, in use or free. Ray must be connected; this machine may have none."""
    return int(import_ray().cluster_resources().get("GPU", 0))


def free_gpus(wanted: int) -> int:
    """The GPUs of which nobody has reserved a part. Waits a moment if they are fewer than `wanted`."""
    ray, deadline = import_ray(), time.monotonic() + RELEASE_SECONDS
    while (free := int(ray.available_resources().get("GPU", 0))) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return free


def share(actors: int, gpus: int) -> float:
    """What each of `actors` reserves: a GPU, or the part that lets as few as possible share one; 0 if there is none."""
    return PARTS // ceil(actors / gpus) / PARTS if gpus else 0.0
