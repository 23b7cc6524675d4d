"""Converts a user's parameters, arrays nested in lists, tuples and dicts, to one flat vector and back."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, final

import numpy as np

from psgd.core.errors import UsageError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
CONTAINERS = (list, tuple, dict)


class Leaf(NamedTuple):
    path: str  # "[0]", "['W1']", "[1][2]"; empty where the parameters are one array
    shape: tuple[int, ...]
    where: slice  # its place in the vector


@final
class ParameterTree:
    """The structure of nested arrays. UsageError unless `example` holds distinct float arrays of one dtype."""

    def __init__(self, example: Any) -> None:
        self._example = example
        self.leaves: list[Leaf] = []
        start = 0
        seen: dict[int, str] = {}
        dtypes: dict[np.dtype, str] = {}
        for path, value in _leaves(example, example):
            name = f"parameters{path}"
            array = _array(value, name)
            if array.dtype not in FLOATS:
                raise UsageError(f"{name} is {array.dtype}; parameters must be float32 or float64: use .astype(float)")
            if not array.size:
                raise UsageError(f"{name} has shape {array.shape}, which holds nothing; leave it out")
            if isinstance(value, np.ndarray) and id(value) in seen:
                raise UsageError(f"{name} is the same array as {seen[id(value)]}; give each array once")
            seen[id(value)] = name
            dtypes.setdefault(array.dtype, name)
            self.leaves.append(Leaf(path, array.shape, slice(start, start + array.size)))
            start += array.size
        if not self.leaves:
            raise UsageError("parameters hold no array; give an array, or a list or dict of arrays")
        if len(dtypes) > 1:
            found = " and ".join(f"{name} is {dtype}" for dtype, name in dtypes.items())
            raise UsageError(f"{found}; all parameters must have one dtype: convert them with .astype")
        self.size = start
        (self.dtype,) = dtypes

    @property
    def is_number(self) -> bool:
        """Whether the parameters are a single number."""
        return self.leaves[0] == Leaf("", (), slice(0, 1))

    def flatten(self, tree: Any) -> np.ndarray:
        """Return a new vector (P,) of the arrays of `tree`."""
        vector = np.empty(self.size, self.dtype)
        self.write(tree, vector)
        return vector

    def views(self, vector: np.ndarray) -> Any:
        """Return the tree of read-only views into `vector` (P,)."""
        vector = vector.view()
        vector.flags.writeable = False
        return _like(self._example, (vector[leaf.where].reshape(leaf.shape) for leaf in self.leaves))

    def copies(self, vector: np.ndarray) -> Any:
        """Return the tree with arrays of its own, copied from `vector` (P,)."""
        return _like(self._example, (vector[leaf.where].reshape(leaf.shape).copy() for leaf in self.leaves))

    def write(self, tree: Any, out: np.ndarray) -> bool:
        """Write a gradient to `out` (P,) and return True; return False if it does not nest as the parameters do, where
        a tuple may replace a list. UsageError for a wrong shape or dtype. No tree nests as its own first item does, so
        a gradient is never taken for a pair of gradient and loss."""
        try:
            values = [value for _, value in _leaves(self._example, tree)]
        except ValueError:
            return False
        for leaf, value in zip(self.leaves, values, strict=True):
            if type(value) is np.ndarray and value.shape == leaf.shape and value.dtype == self.dtype:
                out[leaf.where] = value.reshape(-1)
                continue
            array = _array(value, f"the gradient of parameters{leaf.path}")
            if array.shape != leaf.shape:
                raise UsageError(
                    f"the gradient of parameters{leaf.path} has shape {array.shape}; it must be {leaf.shape}, like the "
                    "parameters: the mean over the examples of the batch"
                )
            if array.dtype != self.dtype and not isinstance(value, float):
                raise UsageError(
                    f"the gradient of parameters{leaf.path} is {array.dtype}, but the parameters are {self.dtype}; "
                    f"convert the parameters or the data, so that all is {self.dtype} (or return it .astype)"
                )
            out[leaf.where] = array.ravel()
        return True

    def difference(self, tree: Any) -> str:
        """Say where `tree`, which does not nest as the parameters do, first differs from them."""
        try:
            list(_leaves(self._example, tree))
        except ValueError as difference:
            return str(difference)
        return ""

    def name(self, index: int) -> str:
        """Return the path and index of element `index` of the vector, or "the loss" for an index behind the last."""
        for leaf in self.leaves:
            if index < leaf.where.stop:
                place = np.unravel_index(index - leaf.where.start, leaf.shape)
                return f"parameters{leaf.path}" + (f"[{', '.join(map(str, place))}]" if place else "")
        return "the loss"


def describe_tree(tree: Any) -> str:
    """Describe a value in a few words, for messages."""
    if type(tree) in CONTAINERS:
        return f"a {type(tree).__name__} of {len(tree)}"
    if isinstance(tree, np.ndarray):
        return f"an array of shape {tree.shape}"
    return f"{type(tree).__name__} {tree!r}"[:80]


def _array(value: Any, name: str) -> np.ndarray:
    if not isinstance(value, np.ndarray | np.number | int | float):
        raise UsageError(f"{name} is {describe_tree(value)}; it must be a numpy array, or lists or dicts of arrays")
    return np.asarray(value)


def _leaves(example: Any, tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf of `tree`), in the order of `example`: dicts may have another. ValueError says where `tree`
    does not nest as the example does. A named tuple would lose its names, so it counts as a leaf."""
    if type(example) is dict and type(tree) is dict and tree.keys() == example.keys():
        keys: Iterable[Any] = example
    elif type(example) in (list, tuple) and type(tree) in (list, tuple) and len(tree) == len(example):
        keys = range(len(example))
    elif type(example) in CONTAINERS or type(tree) in CONTAINERS:
        raise ValueError(f"parameters{path} is {_nesting(example)}, its gradient {_nesting(tree)}")
    else:
        yield path, tree
        return
    for key in keys:
        yield from _leaves(example[key], tree[key], f"{path}[{key!r}]")


def _nesting(tree: Any) -> str:
    keys = f" with the keys {', '.join(map(repr, tree))}" if type(tree) is dict else ""
    return describe_tree(tree) + keys


def _like(example: Any, leaves: Iterator[np.ndarray]) -> Any:
    if type(example) is dict:
        return {key: _like(item, leaves) for key, item in example.items()}
    if type(example) in (list, tuple):
        return type(example)([_like(item, leaves) for item in example])
    return next(leaves)
