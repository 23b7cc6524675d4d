"""The group: exchanges of reports and combinations over a transport. The same code, hence the same bits, for each.

It knows weights, contributions and slices; it knows no strategy, learner, file or clock.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, final

import numpy as np

from psgd.core.blocks import BLOCK_ELEMENTS, ApplyBlock, blocks, squared_norm
from psgd.group.placement import adopt_orphans, default_placement
from psgd.group.reports import Notice, Report, RoundReports, pack_reports, unpack_reports
from psgd.group.transport import Transport
from psgd.group.tree_reduce import Load, Node, TreeReducer, maximal_subtrees
from psgd.group.vector_shape import VectorShape

SLICE_ELEMENTS = 64  # slices of processes start at multiples of it, so that two never write to one cache line

Key = TypeVar("Key")
BeginApply = Callable[[float], ApplyBlock]  # from the squared norm of the reduced row 0, or nan


class _Terms(NamedTuple):
    """The terms of a weighted sum, kept because most combinations have the weights of the one before."""

    weights: np.ndarray
    factors: Sequence[np.floating]  # the weights in the vectors' dtype
    given: tuple[Node, ...]
    load: Load


@final
class Group:
    def __init__(self, transport: Transport, shape: VectorShape) -> None:
        self.transport = transport
        self._shape = shape
        self._reducer = TreeReducer(shape.contribution_rows, BLOCK_ELEMENTS, shape.dtype)
        self._placement = default_placement(shape.workers, transport.members)
        self._terms: _Terms | None = None
        self._lay_out()

    @property
    def hosted(self) -> tuple[int, ...]:
        """The workers of this process."""
        return self._placement[self.transport.process]

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.transport.process == self.transport.members[0]

    def contribution(self, worker: int) -> np.ndarray:
        """(C, P): where a worker of this host writes its contribution. Nothing is copied in order to be sent."""
        return self._contributions[worker]

    @property
    def replicas(self) -> tuple[np.ndarray, np.ndarray]:
        """The current and the next replica (1 + rows, P), shared by the host. They are the same array where the
        transport cannot recover from a loss, which alone needs the previous replica."""
        return self._replicas

    def all_gather(self, row: bytes) -> list[bytes]:
        return self.transport.all_gather(row)

    def exchange_reports(self, reports: Sequence[Report], notice: Notice) -> RoundReports:
        """Collective: give the reports of hosted workers and this process's notice, get everyone's."""
        slots = self._slots
        return unpack_reports(self.transport.all_gather(pack_reports(notice, reports, slots)), slots)

    def combine(self, weights: np.ndarray, begin: BeginApply, with_norm: bool = False) -> None:
        """Collective, after an exchange of reports: sum the contributions by `weights` (workers,), not all 0, and hand
        each block of the sum, once on each host, to the function that `begin` returns. To pass the same array of
        weights again, unchanged, is fast. Where the transport cannot recover, the contributions may be overwritten."""
        if self._terms is None or self._terms.weights is not weights:
            self._terms = self._terms_of(weights)
        _, factors, given, load = self._terms
        if len(self._nodes) > 1:
            self._share_sums(factors)
        if with_norm:
            self._apply_with_norm(given, load, begin)
        elif len(self._nodes) == 1 == len(given) and factors[given[0][0]] == 1.0 and not self.transport.recovers:
            # A single contribution of weight 1 is its own sum.
            alone, apply = self._contributions[given[0][0]], begin(np.nan)
            for where in self._slice:
                apply(alone[:, where], where)
        else:
            reduce, apply = self._reducer.reduce, begin(np.nan)
            for where in self._slice:
                apply(reduce(given, load, where), where)
        self.transport.barrier()

    def confirm_end(self) -> None:
        """Collective, when training has ended: return once all processes have got here, or raise ProcessLost on all."""
        self.transport.confirm_end()

    def recover(self) -> str:
        """Collective over the survivors, after ProcessLost: they adopt the orphans. Returns who was lost and who goes
        on, for people. May raise ProcessLost again."""
        self.transport.recover()
        members = self.transport.members
        lost = [str(process) for process in self._placement if process not in members]
        self._placement = adopt_orphans(self._placement, members)
        self._lay_out()
        who = f"process{'es' * (len(lost) > 1)} {', '.join(lost)}" if lost else "a message"
        count, verb = len(members), "were" if len(lost) > 1 else "was"
        return f"{who} {verb} lost; {count} process{'es' * (count > 1)} go{'es' * (count == 1)} on"

    def _lay_out(self) -> None:
        """Allocate memory for the present placement. Where orphans may be adopted, every host has room for all workers
        from the start, so that contributions need not be moved."""
        shape, members, hosts = self._shape, self.transport.members, self.transport.hosts
        self._slots = max(len(hosted) for hosted in self._placement.values())
        self._host = host = hosts[members.index(self.transport.process)]
        host_peers = [member for member, its_host in zip(members, hosts, strict=True) if its_host == host]
        on_host = {
            host: [w for m, h in zip(members, hosts, strict=True) if h == host for w in self._placement[m]]
            for host in sorted(set(hosts))
        }
        self._nodes = {host: maximal_subtrees(workers, shape.workers) for host, workers in on_host.items()}
        here = range(shape.workers) if self.transport.recovers else sorted(on_host[host])
        self._contributions = self._arrays("contributions", here)
        replica = self._array("replica 0", 1 + shape.state_rows)
        second = self._array("replica 1", 1 + shape.state_rows) if self.transport.recovers else replica
        self._replicas = (replica, second)
        nodes = [node for nodes in self._nodes.values() for node in nodes] if len(self._nodes) > 1 else []
        self._sums = self._arrays(f"{len(nodes)} sums", nodes)
        self._slice = self._cut(SLICE_ELEMENTS, host_peers)
        self._norm_slice = self._cut(BLOCK_ELEMENTS, host_peers)
        self._terms = None

    def _cut(self, unit: int, host_peers: Sequence[int]) -> list[slice]:
        """This process's share of the parameters as blocks: whole units, 1/n of them where n processes share a host."""
        parameters = self._shape.parameters
        n, i = len(host_peers), host_peers.index(self.transport.process)
        units = -(-parameters // unit)
        return list(blocks(units * i // n * unit, min(units * (i + 1) // n * unit, parameters)))

    def _arrays(self, name: str, keys: Sequence[Key]) -> dict[Key, np.ndarray]:
        """An array of contribution rows for each key, all in one memory, since each costs exchanges within the host."""
        if not keys:
            return {}
        stride = self._shape.contribution_stride
        memory = self.transport.memory(name, stride * len(keys))
        starts = range(0, stride * len(keys), stride)
        return {
            key: self._view(memory[start:], self._shape.contribution_rows)
            for key, start in zip(keys, starts, strict=True)
        }

    def _array(self, name: str, rows: int) -> np.ndarray:
        size = rows * self._shape.parameters * self._shape.dtype.itemsize
        return self._view(self.transport.memory(name, size), rows)

    def _view(self, memory: memoryview, rows: int) -> np.ndarray:
        return np.frombuffer(memory, self._shape.dtype, rows * self._shape.parameters).reshape(rows, -1)

    def _terms_of(self, weights: np.ndarray) -> _Terms:
        """On one host straight from the contributions, else from the sums of all hosts' subtrees."""
        factors = [self._shape.dtype.type(w) for w in weights]
        if len(self._nodes) == 1:
            given = tuple((w, 0) for w, factor in enumerate(factors) if factor)
            return _Terms(weights, factors, given, self._weighted([w for w, _ in given], factors))
        return _Terms(weights, factors, *self._sums_of(factors))

    def _weighted(self, workers: Sequence[int], factors: Sequence[np.floating]) -> Load:
        leaves = [(self._contributions[worker], factors[worker]) for worker in workers]

        def load(number: int, where: slice, out: np.ndarray) -> None:
            contribution, factor = leaves[number]
            np.multiply(contribution[:, where], factor, out)

        return load

    def _share_sums(self, factors: Sequence[np.floating]) -> None:
        """Reduce this host's maximal subtrees to sums, then fetch those of the other hosts."""
        for node in self._nodes[self._host]:
            workers = _present(node, factors)
            if workers:
                load, leaves = self._weighted(workers, factors), tuple((w, 0) for w in workers)
                for where in self._slice:
                    self._sums[node][:, where] = self._reducer.reduce(leaves, load, where)
        self.transport.barrier()
        if self.transport.process == self._host:
            nothing = np.empty(0, self._shape.dtype)
            for turn in range(max(map(len, self._nodes.values()))):
                self.transport.exchange_between_hosts(
                    [self._sums[nodes[turn]] if turn < len(nodes) else nothing for nodes in self._nodes.values()]
                )
        self.transport.barrier()

    def _sums_of(self, factors: Sequence[np.floating]) -> tuple[tuple[Node, ...], Load]:
        """All hosts' subtrees with a worker whose weight is not 0."""
        given = tuple(node for nodes in self._nodes.values() for node in nodes if _present(node, factors))

        def load(number: int, where: slice, out: np.ndarray) -> None:
            out[:] = self._sums[given[number]][:, where]

        return given, load

    def _apply_with_norm(self, given: tuple[Node, ...], load: Load, begin: BeginApply) -> None:
        """As `combine`, with the sum's squared norm: squares are summed by block, and the blocks in their order."""
        reduced = self._array("reduced", self._shape.contribution_rows)
        squares = np.zeros(-(-self._shape.parameters // BLOCK_ELEMENTS))
        for where in self._norm_slice:
            reduced[:, where] = self._reducer.reduce(given, load, where)
            squares[where.start // BLOCK_ELEMENTS] = squared_norm(reduced[0, where])
        rows = [np.frombuffer(row) for row in self.transport.all_gather(squares.tobytes())]
        first_host = [row for row, host in zip(rows, self.transport.hosts, strict=True) if host == min(self._nodes)]
        # Each block's squares come from one process and are 0 elsewhere: x + 0 + ... = x.
        apply = begin(float(sum(float(x) for x in np.sum(first_host, axis=0))))
        for where in self._norm_slice:
            apply(reduced[:, where], where)


def _present(node: Node, factors: Sequence[np.floating]) -> list[int]:
    """The workers under a node whose weight is not 0."""
    worker, level = node
    return [w for w in range(worker, min(worker + (1 << level), len(factors))) if factors[w]]
