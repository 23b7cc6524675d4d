"""The structure of a user's parameters as a model file describes it: lists, tuples and dicts of arrays, as JSON."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from psgd.core.errors import UsageError

MAX_DEPTH = 30  # of nested lists, tuples and dicts; JSON readers have limits of their own, above 100
Size = Annotated[int, Field(gt=0, lt=2**48)]


class _Node(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


class ArrayNode(_Node):
    kind: Literal["array"] = "array"
    shape: list[Size]


class SequenceNode(_Node):
    kind: Literal["list", "tuple"]
    items: list["Structure"]


class DictNode(_Node):
    kind: Literal["dict"] = "dict"
    keys: list[int | str]
    items: list["Structure"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.keys) != len(self.items) or len(set(self.keys)) < len(self.keys):
            raise ValueError("a dict must have one item for each key, and different keys")
        return self


Structure = Annotated[ArrayNode | SequenceNode | DictNode, Field(discriminator="kind")]


def structure_of(tree: Any, path: str = "parameters", depth: int = MAX_DEPTH) -> ArrayNode | SequenceNode | DictNode:
    """Describe nested arrays. UsageError if a key of a dict is neither text nor a whole number, which JSON can keep, or
    they are nested more than `depth` deep."""
    if type(tree) not in (list, tuple, dict):
        return ArrayNode(shape=list(np.shape(tree)))
    if not depth:
        raise UsageError(f"{path} is nested more than {MAX_DEPTH} deep, which a model file cannot keep; flatten it")
    if type(tree) is dict:
        for key in tree:
            if not _can_be_kept(key):
                raise UsageError(
                    f"{path} has the key {key!r}; a model file can keep text and whole numbers as keys: use one of "
                    "these, or leave out output"
                )
        items = [structure_of(value, f"{path}[{key!r}]", depth - 1) for key, value in tree.items()]
        return DictNode(keys=list(tree), items=items)
    items = [structure_of(value, f"{path}[{key}]", depth - 1) for key, value in enumerate(tree)]
    return SequenceNode(kind="tuple" if type(tree) is tuple else "list", items=items)


def _can_be_kept(key: Any) -> bool:
    if type(key) is int:
        return abs(key) < 2**63
    return type(key) is str and not any("\ud800" <= letter <= "\udfff" for letter in key)  # surrogates are not text


def build(
    structure: ArrayNode | SequenceNode | DictNode,
    read: Callable[[str, tuple[int, ...]], np.ndarray],
    path: str = "parameters",
) -> Any:
    """Make the nested arrays that `structure` describes. `read` returns an array by its name, such as
    parameters[0]['W'], and shape."""
    if isinstance(structure, ArrayNode):
        return read(path, tuple(structure.shape))
    if isinstance(structure, DictNode):
        pairs = zip(structure.keys, structure.items, strict=True)
        return {key: build(item, read, f"{path}[{key!r}]") for key, item in pairs}
    items = [build(item, read, f"{path}[{key}]") for key, item in enumerate(structure.items)]
    return tuple(items) if structure.kind == "tuple" else items
