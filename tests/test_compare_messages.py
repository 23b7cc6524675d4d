"""The messages of the modelled clock: their stages on a network, and those that the group really sends."""

import numpy as np
import pytest
from modelled_networks import NO_OVERHEAD, network

from psgd.compare.modelled.clock import place_on_hosts
from psgd.compare.modelled.network import (
    Library,
    Link,
    after_broadcasts,
    all_gather_seconds,
    broadcasts_seconds,
    parse_network,
    stages_added,
    stages_in_turn,
)
from psgd.core.errors import UsageError
from psgd.group.group import Group
from psgd.group.vector_shape import VectorShape


@pytest.mark.parametrize(
    ("text", "bandwidth", "latency"),
    [
        ("100Mbit,1ms", 1e8, 1e-3),
        ("2.5 Gbit/s, 20us", 2.5e9, 20e-6),
        ("512kbit,0.5s", 512e3, 0.5),
        ("1gbit,0ms", 1e9, 0),
    ],
)
def test_networks_are_read(text, bandwidth, latency):
    assert parse_network(text) == pytest.approx((bandwidth, latency))


@pytest.mark.parametrize(
    "text", ["100Mbit", "100MB,1ms", "0Mbit,1ms", "-1Mbit,1ms", "1..2Mbit,1ms", "fast", "1Mbit,1m"]
)
def test_other_networks_are_refused(text):
    with pytest.raises(UsageError, match="100Mbit,1ms"):
        parse_network(text)


def test_stages_of_broadcasts_by_hand():
    """Two hosts: one message after the other. Four: two stages a broadcast. A card carries one message at a time.
    If senders do not wait, host 0 reaches 2 and 1, then 3; host 1 reaches 3 and 2, then 0; and so on."""
    assert [stages_in_turn(tuple(range(n)), n) for n in (2, 3, 4)] == [2, 6, 8]
    assert after_broadcasts([0, 1], [0, 0], waits=False) == [2, 1]
    assert after_broadcasts([0, 1, 2, 3], [0] * 4, waits=False) == [4, 4, 5, 3]


def test_rounds_of_short_messages_overlap():
    """Host 1 sends last, goes on, and its report arrives with its sum: a round of two hosts is there and back, of which
    the reports are one. Senders that wait end together, after one report and two messages."""
    assert stages_added((0, 1), 2, waits=False) == 1
    assert stages_added((0, 1), 2, waits=True) == 2
    assert stages_added((0, 1, 2, 3), 4, waits=True) == 8


def test_packets_have_headers():
    """A full packet of 1538 bytes on the wire carries 1448."""
    assert broadcasts_seconds(Link(8 * 1538, 0.0), NO_OVERHEAD, (0,), 2, 1448) == pytest.approx(1.0)


def test_many_hosts_scatter_and_gather():
    """8 hosts: 3 + 7 messages, 7/8 of the vector twice."""
    library = Library(overhead=0.0, eager_bytes=10**6, trips=3)
    found = broadcasts_seconds(network(1e6, 1.0), library, (0,), 8, 80_000)
    assert found == pytest.approx(10 * 1.0 + 2 * 7 / 8 * 0.08)


def test_reports_of_three_hosts_take_two_stages():
    assert all_gather_seconds(network(1e30, 1.0), NO_OVERHEAD, 3, 1, 80) == pytest.approx(2)


class TwoByTwo:
    """A transport that only notes the messages: four processes, two a host."""

    kind, recovers, process = "noted", False, 0

    def __init__(self, hosts):
        self.members, self.hosts, self.roots, self.barriers = range(len(hosts)), hosts, [], 0

    def memory(self, name, size):
        return memoryview(bytearray(size))

    def barrier(self):
        self.barriers += 1

    def exchange_between_hosts(self, parts):
        self.roots += [host for host, part in enumerate(parts) if part.size]


@pytest.mark.parametrize(("workers", "hosts"), [(4, [0, 0, 2, 2]), (8, [0, 1, 2]), (7, [0, 1]), (3, [0, 1, 2])])
def test_the_messages_are_those_that_the_group_sends(workers, hosts):
    transport = TwoByTwo(hosts)
    group = Group(transport, VectorShape(workers, 5, 0, 1, np.dtype("f4")))
    group.combine(np.full(workers, 1 / workers), lambda norm: lambda reduced, where: None)
    assert place_on_hosts(workers, len(set(hosts)), None).roots == tuple(transport.roots)
    assert transport.barriers == 3
