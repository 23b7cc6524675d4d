"""The group: meetings and combinations over a transport. The same code, hence the same bits, for every transport.

It knows weights, contributions and slices; it knows no strategy, learner, file or clock.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import numpy as np

from psgd.core.blocks import BLOCK_ELEMENTS, blocks, squared_norm
from psgd.group.placement import adopt, default_placement
from psgd.group.reports import Notice, Report, RoundReports, pack, unpack
from psgd.group.transport import Transport
from psgd.group.tree_reduce import Load, Node, TreeReducer, maximal_subtrees

_LINE = 64  # parameters, a multiple of a cache line: no two processes write to the same one

Apply = Callable[[np.ndarray, slice, float], None]  # (folded (C, n), where, squared norm of folded row 0 or nan)


class VectorShape(NamedTuple):
    """Of the vectors that a job moves."""

    workers: int
    parameters: int  # P
    state_rows: int  # of the replica, beside the parameters
    contribution_rows: int  # C
    dtype: np.dtype


@final
class Group:
    def __init__(self, transport: Transport, shape: VectorShape) -> None:
        self.transport = transport
        self._shape = shape
        self._folder = TreeReducer(shape.contribution_rows, BLOCK_ELEMENTS, shape.dtype)
        self._placement = default_placement(shape.workers, transport.members)
        self._settle()

    @property
    def hosted(self) -> tuple[int, ...]:
        """The workers of this process."""
        return self._placement[self.transport.process]

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.transport.process == self.transport.members[0]

    def contribution(self, worker: int) -> np.ndarray:
        """(C, P): where a worker of this host writes its contribution. Nothing is copied in order to be sent."""
        return self._contributions[worker]

    @property
    def replicas(self) -> tuple[np.ndarray, np.ndarray]:
        """Two buffers (1 + rows, P), shared by the host: the replica that is, and the one that becomes."""
        return self._replicas

    def all_gather(self, row: bytes) -> list[bytes]:
        return self.transport.all_gather(row)

    def barrier(self) -> None:
        self.transport.barrier()

    def meet(self, reports: Sequence[Report], notice: Notice) -> RoundReports:
        """Collective: the reports of hosted workers and this process's notice -> the same roster for all."""
        return unpack(self.transport.all_gather(pack(notice, reports, self._seats)))

    def combine(self, weights: np.ndarray, apply: Apply, with_norm: bool = False) -> None:
        """Collective, after a meeting: fold the contributions by `weights` (workers,), not all 0, and hand each block
        of the sum to `apply`, on each host once."""
        factors = [self._shape.dtype.type(w) for w in weights]
        if len(self._nodes) == 1:  # one host: straight from the contributions
            given: tuple[Node, ...] = tuple((w, 0) for w, factor in enumerate(factors) if factor)
            load = self._weighed([w for w, _ in given], factors)
        else:
            self._share_sums(factors)
            given, load = self._sums_of([n for nodes in self._nodes.values() for n in nodes], factors)
        if with_norm:
            self._apply_with_norm(given, load, apply)
        else:
            for where in self._slice:
                apply(self._folder.fold(given, load, where), where, np.nan)
        self.transport.barrier()

    def recover(self) -> None:
        """Collective over the survivors, after ProcessLost: they adopt the orphans. May raise ProcessLost again."""
        self.transport.recover()
        self._placement = adopt(self._placement, self.transport.members)
        self._settle()

    def _settle(self) -> None:
        """Memory and sums for the hosting as it is; contributions of workers that stay keep their place."""
        shape, members, hosts = self._shape, self.transport.members, self.transport.hosts
        self._seats = max(len(hosted) for hosted in self._placement.values())
        mine, host_peers = hosts[members.index(self.transport.process)], self._host_peers()
        on_host = {
            host: [w for m, h in zip(members, hosts, strict=True) if h == host for w in self._placement[m]]
            for host in sorted(set(hosts))
        }
        self._nodes = {host: maximal_subtrees(workers, shape.workers) for host, workers in on_host.items()}
        self._host = mine
        self._contributions = {
            w: self._array(f"contribution {w}", shape.contribution_rows) for w in sorted(on_host[mine])
        }
        replica = [self._array(f"replica {i}", 1 + shape.state_rows) for i in range(2)]
        self._replicas = (replica[0], replica[1])
        self._sums = {
            node: self._array(f"sum {node}", shape.contribution_rows)
            for nodes in (self._nodes.values() if len(self._nodes) > 1 else ())
            for node in nodes
        }
        self._slice = self._cut(_LINE, host_peers)
        self._norm_slice = self._cut(BLOCK_ELEMENTS, host_peers)

    def _host_peers(self) -> list[int]:
        """The members on this host."""
        members, hosts = self.transport.members, self.transport.hosts
        mine = hosts[members.index(self.transport.process)]
        return [m for m, host in zip(members, hosts, strict=True) if host == mine]

    def _cut(self, unit: int, host_peers: Sequence[int]) -> list[slice]:
        """This process's part of the parameters, as blocks: whole units, 1/n of them where n processes share a host."""
        parameters = self._shape.parameters
        n, i = len(host_peers), host_peers.index(self.transport.process)
        units = -(-parameters // unit)
        return list(blocks(units * i // n * unit, min(units * (i + 1) // n * unit, parameters)))

    def _array(self, name: str, rows: int) -> np.ndarray:
        size = rows * self._shape.parameters * self._shape.dtype.itemsize
        return np.frombuffer(self.transport.memory(name, size), self._shape.dtype).reshape(rows, -1)

    def _weighed(self, workers: Sequence[int], factors: Sequence[np.floating]) -> Load:
        def load(number: int, where: slice, out: np.ndarray) -> None:
            worker = workers[number]
            np.multiply(self._contributions[worker][:, where], factors[worker], out)

        return load

    def _share_sums(self, factors: Sequence[np.floating]) -> None:
        """Fold this host's maximal subtrees into its sums, then fetch the other hosts'."""
        for node in self._nodes[self._host]:
            workers = _present(node, factors)
            if workers:
                load, leaves = self._weighed(workers, factors), tuple((w, 0) for w in workers)
                for where in self._slice:
                    self._sums[node][:, where] = self._folder.fold(leaves, load, where)
        self.transport.barrier()
        if self.transport.process == self._host:
            for turn in range(max(map(len, self._nodes.values()))):
                nothing = np.empty(0, self._shape.dtype)
                self.transport.exchange_between_hosts(
                    [self._sums[nodes[turn]] if turn < len(nodes) else nothing for nodes in self._nodes.values()]
                )
        self.transport.barrier()

    def _sums_of(self, nodes: list[Node], factors: Sequence[np.floating]) -> tuple[tuple[Node, ...], Load]:
        given = tuple(node for node in nodes if _present(node, factors))

        def load(number: int, where: slice, out: np.ndarray) -> None:
            out[:] = self._sums[given[number]][:, where]

        return given, load

    def _apply_with_norm(self, given: tuple[Node, ...], load: Load, apply: Apply) -> None:
        """As `combine`, when `apply` needs the sum's norm: squares by block, added in block order by everyone."""
        reduced = self._array("folded", self._shape.contribution_rows)
        squares = np.zeros(-(-self._shape.parameters // BLOCK_ELEMENTS))
        for where in self._norm_slice:
            reduced[:, where] = self._folder.fold(given, load, where)
            squares[where.start // BLOCK_ELEMENTS] = squared_norm(reduced[0, where])
        rows = [np.frombuffer(row) for row in self.transport.all_gather(squares.tobytes())]
        first_host = [row for row, host in zip(rows, self.transport.hosts, strict=True) if host == min(self._nodes)]
        norm = float(sum(float(x) for x in np.sum(first_host, axis=0)))  # a block is one process's: x + 0 + ... = x
        for where in self._norm_slice:
            apply(reduced[:, where], where, norm)


def _present(node: Node, factors: Sequence[np.floating]) -> list[int]:
    worker, level = node
    return [w for w in range(worker, min(worker + (1 << level), len(factors))) if factors[w]]
