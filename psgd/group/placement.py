"""Placement: which process hosts which workers, and who adopts the workers of a lost process.

Pure functions of plain numbers: every process computes the same answer without any communication.
"""

from collections.abc import Mapping, Sequence

from psgd.group.transport import Transport

Placement = Mapping[int, tuple[int, ...]]  # process -> its workers


def local_rank(transport: Transport) -> int:
    """The rank of this process among those of its host."""
    hosts, rank = transport.hosts, transport.members.index(transport.process)
    return hosts[:rank].count(hosts[rank])


def default_placement(workers: int, processes: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Neighbouring workers share a process, as evenly as possible; processes beyond the workers are spares."""
    n = len(processes)
    cuts = [workers * i // n for i in range(n + 1)]
    if workers < n:
        cuts = [min(i, workers) for i in range(n + 1)]
    return {p: tuple(range(cuts[i], cuts[i + 1])) for i, p in enumerate(processes)}


def adopt_orphans(placement: Placement, survivors: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Survivors keep their workers; each orphan goes to the survivor with the fewest (ties to the first)."""
    after = {p: list(placement[p]) for p in survivors}
    for orphan in sorted(w for p, hosted in placement.items() if p not in after for w in hosted):
        after[min(survivors, key=lambda p: (len(after[p]), p))].append(orphan)
    return {p: tuple(sorted(hosted)) for p, hosted in after.items()}
