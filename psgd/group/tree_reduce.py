"""The tree reduction: sum of weight x contribution in one fixed order, whichever process computes which part of it.

A leaf is weight x contribution, rounded to the dtype; above the leaves stands a binary tree over the worker numbers.
A leaf of weight 0 is skipped (0 x nan is nan), and a node with one child is that child. So the bits depend on the
workers and weights alone. Node (worker, level) covers the workers [worker, worker + 2^level), worker a multiple of it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np

Node = tuple[int, int]
Load = Callable[[int, slice, np.ndarray], None]  # (index into the given nodes, slice, out): write that node's value


class _Operation(NamedTuple):
    """Load given node number `load` into `slot`; or, if `load` is -1, add slot + 1 to `slot`."""

    slot: int
    load: int


@lru_cache(maxsize=256)
def _schedule(given: tuple[Node, ...]) -> tuple[tuple[_Operation, ...], int]:
    """Operations that leave the sum of the given nodes in slot 0, and the number of slots they take."""
    index = {node: i for i, node in enumerate(given)}
    operations: list[_Operation] = []
    slots = 0

    def build(worker: int, level: int, slot: int) -> bool:
        nonlocal slots
        if (worker, level) in index:
            operations.append(_Operation(slot, index[worker, level]))
            slots = max(slots, slot + 1)
            return True
        if level == 0 or not any(worker <= w < worker + (1 << level) for w, _ in given):
            return False
        left = build(worker, level - 1, slot)
        right = build(worker + (1 << level - 1), level - 1, slot + 1 if left else slot)
        if left and right:
            operations.append(_Operation(slot, -1))
        return left or right

    height = max(worker + (1 << level) for worker, level in given)
    build(0, (height - 1).bit_length(), 0)
    return tuple(operations), slots


def maximal_subtrees(hosted: Sequence[int], workers: int) -> list[Node]:
    """The fewest nodes that cover exactly the workers `hosted`, out of `workers` in all."""
    own = set(hosted)
    nodes: list[Node] = []

    def visit(worker: int, level: int) -> None:
        under = set(range(worker, min(worker + (1 << level), workers)))
        if under and under <= own:
            nodes.append((worker, level))
        elif under & own:
            visit(worker, level - 1)
            visit(worker + (1 << level - 1), level - 1)

    visit(0, (workers - 1).bit_length())
    return nodes


@final
class TreeReducer:
    """Reduces slices of vectors in buffers of its own: (rows, elements of a block) for each slot."""

    def __init__(self, rows: int, block_elements: int, dtype: np.dtype) -> None:
        self._shape, self._dtype = (rows, block_elements), dtype
        self._slots: list[np.ndarray] = []

    def reduce(self, given: tuple[Node, ...], load: Load, where: slice) -> np.ndarray:
        """The sum of the given nodes (at least one) over the slice: (rows, n), overwritten by the next call."""
        operations, slots = _schedule(given)
        while len(self._slots) < slots:
            self._slots.append(np.empty(self._shape, self._dtype))
        length = where.stop - where.start
        parts = [slot[:, :length] for slot in self._slots[:slots]]
        for slot, number in operations:
            if number >= 0:
                load(number, where, parts[slot])
            else:
                np.add(parts[slot], parts[slot + 1], parts[slot])
        return parts[0]
