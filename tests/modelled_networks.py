"""Networks of the modelled clock."""

from psgd.compare.modelled.network import MPICH, PAYLOAD, Link

NO_OVERHEAD = MPICH._replace(overhead=0.0)


def network(bandwidth=1e9, latency=0.0):
    """`bandwidth`: payload, in bytes a second."""
    return Link(8 * bandwidth / PAYLOAD, latency)
