"""What Ray actors do in tests of the contract of groups. Without pytest, which each of them would import."""

import os
from typing import Any, NamedTuple

import numpy as np
from contract import check_group, hashes

from psgd.group.ray.transport import Ray
from psgd.jobs.launch.ray import VARIABLES


def check_contract(transport: Ray) -> dict[str, Any]:
    """The hashes of every strategy, with unequal speeds where it obeys them, after the checks of contract.py."""
    for workers in (1, 3, 4):
        check_group(_fresh(transport), workers)
    return hashes(lambda: _fresh(transport), (4,))


def _fresh(transport: Ray) -> Ray:
    """Another transport of the same actors, with memory of its own."""
    return Ray(transport.process, len(transport.members), transport._coordinator, transport._patience)


def exchange_vectors(transport: Ray) -> list[float]:
    """The first and last elements of what three exchanges leave; in each, process 0's part is empty."""
    received = []
    for turn in range(3):
        parts = [np.full(400_000 if p else 0, 10.0 * turn + (p if p == transport.process else 9)) for p in range(3)]
        transport.exchange_between_hosts(parts)
        received.append(np.concatenate(parts))
    return [float(x) for part in received for x in (part[0], part[399_999], part[400_000], part[-1])]


class Seen(NamedTuple):
    """What one actor returned."""

    hashes: dict[str, Any]
    vectors: list[float]
    thread_limits: dict[str, str]


def see(transport: Ray) -> Seen:
    limits = {name: os.environ[name] for name in VARIABLES}
    return Seen(check_contract(transport), exchange_vectors(_fresh(transport)), limits)
