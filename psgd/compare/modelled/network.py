"""Links between hosts as prices name them, and the seconds that psgd's messages take on them."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from psgd.core.errors import UsageError

BITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}  # a second
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
PAYLOAD = 1448 / 1538  # of an Ethernet link, by TCP: bytes of data in a packet, bytes that it takes on the wire
SCATTERED_FROM = 8  # hosts; MPICH sends to fewer along a binomial tree, whatever the size
SCATTERED_BYTES = 12288  # shorter messages too
ROUNDS = 16  # simulated until rounds follow each other evenly, and again to see how

_NETWORK = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([kmg]bit)(?:/s)?\s*,\s*(\d+(?:\.\d*)?)\s*(us|ms|s)\s*", re.IGNORECASE)


class Link(NamedTuple):
    """A link between two hosts. Each host has one card, which sends and receives at the same time."""

    bandwidth: float  # bits a second, of one card
    latency: float  # seconds, one way


class Library(NamedTuple):
    """What the library that moves bytes adds to the network, fitted to small messages."""

    overhead: float  # seconds that a message takes beside latency and bandwidth
    eager_bytes: int  # longer messages are agreed upon before they are sent
    trips: int  # over the network, of a longer message: request, reply, data, confirmation


# The constants of MPICH 5 over UCX's TCP. With an added latency of 2 and 10 ms, an exchange of two messages of up to
# 3 MB took two to three latencies, and one of 4 or 6 MB eight to ten.
MPICH = Library(overhead=60e-6, eager_bytes=3_177_811, trips=4)


@lru_cache
def parse_network(text: str) -> Link:
    """Parse a network such as "100Mbit,1ms". UsageError if that is impossible."""
    if found := _NETWORK.fullmatch(text):
        bandwidth, bits, latency, seconds = found.groups()
        network = Link(float(bandwidth) * BITS[bits.lower()], float(latency) * SECONDS[seconds.lower()])
        if network.bandwidth > 0:
            return network
    raise UsageError(
        f"network is {text!r}; give bandwidth and one-way latency, as in 100Mbit,1ms (kbit, Mbit, Gbit; us, ms, s)"
    )


def all_gather_seconds(network: Link, library: Library, hosts: int, processes: int, row: int) -> float:
    """Seconds of an all-gather between hosts: `processes` of each give a row of `row` bytes. In each stage the
    processes exchange with twice as many as before, those of a host through one card."""
    stages = (hosts - 1).bit_length()
    received = processes * (hosts - 1) * processes * row
    return stages * (network.latency + library.overhead) + 8 * received / (network.bandwidth * PAYLOAD)


def broadcasts_seconds(network: Link, library: Library, roots: tuple[int, ...], hosts: int, size: int) -> float:
    """Seconds of broadcasts of `size` bytes between hosts, one after another, from the hosts `roots`.

    MPICH sends along a binomial tree; from SCATTERED_FROM hosts, longer messages are scattered and gathered in a ring.
    """
    eager = size <= library.eager_bytes
    one_way, on_wire = network.latency * (1 if eager else library.trips), 8 * size / (network.bandwidth * PAYLOAD)
    if hosts >= SCATTERED_FROM and size >= SCATTERED_BYTES:
        stages = (hosts - 1).bit_length() + hosts - 1
        return len(roots) * (stages * (one_way + library.overhead) + 2 * (hosts - 1) / hosts * on_wire)
    messages, sent = stages_added(roots, hosts, not eager), stages_in_turn(roots, hosts)
    return messages * (one_way + library.overhead) + sent * on_wire


@lru_cache
def stages_in_turn(roots: tuple[int, ...], hosts: int) -> int:
    """Messages on the longest path through broadcasts alone, where a card carries one at a time."""
    return max(after_broadcasts(roots, [0] * hosts, waits=True))


@lru_cache
def stages_added(roots: tuple[int, ...], hosts: int, waits: bool) -> float:
    """Messages that broadcasts add to the longest path through a round, which begins with an all-gather. The last to
    send goes on at once, so that its report travels with its sum: hence two rounds overlap."""
    done, stages, ends = [0] * hosts, (hosts - 1).bit_length(), []
    for _ in range(2 * ROUNDS):
        for stage in range(stages):
            done = [max(own, done[(host + (1 << stage)) % hosts] + 1) for host, own in enumerate(done)]
        done = after_broadcasts(roots, done, waits)
        ends.append(max(done))
    return (ends[-1] - ends[ROUNDS - 1]) / ROUNDS - stages


def after_broadcasts(roots: Iterable[int], ready: Iterable[int], waits: bool) -> list[int]:
    """Calculate when each host is done with broadcasts along binomial trees, if a message takes 1 and the hosts begin
    when they are `ready`. `waits`: a sender goes on when its message has been received."""
    done = list(ready)
    hosts = len(done)
    for root in roots:
        distance = 1 << (hosts - 1).bit_length() >> 1
        while distance:
            for place in range(0, hosts - distance, 2 * distance):
                sender, receiver = (root + place) % hosts, (root + place + distance) % hosts
                arrived = max(done[sender], done[receiver] if waits else 0) + 1
                done[receiver] = max(done[receiver], arrived)
                if waits:
                    done[sender] = arrived
            distance >>= 1
    return done
