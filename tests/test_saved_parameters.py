"""The parameters of a user's own function keep their structure in a model file, and a stranger's file is checked."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_hostile_models import header_of, raw

from psgd.core.errors import DataError, UsageError
from psgd.learners.model import Model
from psgd.learners.model_file import about_parameters, load, load_model, write_parameters
from psgd.learners.parameter_tree import ParameterTree
from psgd.learners.saved_structure import MAX_DEPTH

TREES = {
    "an array": np.arange(6.0).reshape(2, 3),
    "float32": [np.ones(2, np.float32), np.float32(0.1)],
    "a number": 1.5,
    "weights and biases": ([np.ones((2, 3)), np.full((3, 1), 0.1)], [np.zeros(3), np.zeros(1)]),
    "keys": {"W": np.ones(2), 1: np.zeros(()), "1": {-7: np.ones((1, 1, 1)), "é'\"\n ]": [np.array(2.0)]}, 0: []},
    "no memory in order": [np.arange(6.0).reshape(2, 3).T, np.arange(6.0)[::2]],
    "numbers that text would round": [np.array([0.1, 1 / 3, 5e-324, -0.0, 1.7976931348623157e308])],
}


def nested(depth: int) -> Any:
    tree: Any = np.ones(1)
    for _ in range(depth):
        tree = [tree]
    return tree


def saved(tree: Any, path: Path) -> ParameterTree:
    structure = ParameterTree(tree)
    write_parameters(path, structure, structure.flatten(tree))
    return structure


def nesting(tree: Any) -> Any:
    """The structure, types and bytes of nested arrays."""
    if isinstance(tree, dict):
        return [(type(key), key, nesting(value)) for key, value in tree.items()]
    if isinstance(tree, list | tuple):
        return type(tree), [nesting(value) for value in tree]
    return type(tree), tree.dtype, tree.shape, tree.tobytes()


@pytest.mark.parametrize("name", [*TREES, "deep"])
def test_parameters_are_read_back_bit_by_bit_in_their_structure(tmp_path, name):
    tree = TREES.get(name, nested(MAX_DEPTH))
    structure = saved(tree, tmp_path / "model.safetensors")
    expected = structure.copies(structure.flatten(tree))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load(path)
        assert nesting(loaded) == nesting(expected)
    while isinstance(loaded, list | tuple | dict):
        loaded = loaded["W"] if isinstance(loaded, dict) else loaded[0]
    loaded += 1  # it is the caller's own


def test_they_are_not_a_model_that_predicts(tmp_path):
    saved(TREES["keys"], tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"the parameters of your own function.* psgd.load\('.*'\) returns them"):
        load_model(tmp_path)
    assert not isinstance(load(tmp_path), Model)


@pytest.mark.parametrize("key", [1.5, True, None, (1,), np.int64(3), "\ud800", 2**63])
def test_keys_that_json_cannot_keep_are_refused_by_name(key):
    with pytest.raises(UsageError, match=r"^parameters\[0\]\['a'\] has the key "):
        about_parameters([{"a": {key: np.ones(1)}}])


def test_parameters_that_are_nested_too_deep_are_refused():
    with pytest.raises(UsageError, match=rf"is nested more than {MAX_DEPTH} deep"):
        about_parameters(nested(MAX_DEPTH + 1))


ARRAY: dict[str, Any] = {"kind": "array", "shape": [2]}
STRUCTURE: dict[str, Any] = {
    "kind": "dict",
    "keys": ["W", 3],
    "items": [{"kind": "list", "items": [ARRAY]}, {"kind": "tuple", "items": [ARRAY]}],
}
SHAPES = {"parameters['W'][0]": (2,), "parameters[3][0]": (2,)}


def file(structure: Any, shapes: Any = SHAPES, fill: bytes = b"\0", dtype: str = "F64", size: int = 8) -> bytes:
    about = structure if isinstance(structure, str) else json.dumps({"kind": "parameters", "structure": structure})
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    return raw({"__metadata__": {"psgd": about}, **header_of(shapes, dtype, size)}, fill * size * count)


def hostile() -> dict[str, bytes]:
    files = {
        f"structure {value!r:.30}": file(value) for value in (None, 3, "x", [], {}, [ARRAY], ARRAY, {"kind": "set"})
    }
    for path, values in {
        ("keys",): [None, [], ["W"], ["W", "W"], ["W", 3, 4], ["W", True], ["W", 3.0], ["W", None], ["W", [3]], "W3"],
        ("kind",): ["list", "array", "object", None, 3],
        ("items",): [None, [], [ARRAY], [None, None], "x", {"0": ARRAY}],
        ("items", 0, "items", 0, "shape"): [None, 2, [3], [1, 2], [-2], [0], [2**62], ["2"], [2.0], [10**30], [True]],
        ("items", 0, "items", 0, "kind"): ["dict", "list", "", None, "__class__"],
    }.items():
        for value in values:
            changed = copy.deepcopy(STRUCTURE)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            files[f"{path} {value!r:.30}"] = file(changed)
    deep = '{"kind":"list","items":['
    files["deep"] = file('{"kind": "parameters", "structure": ' + deep * 50000 + "]}" * 50000 + "}")
    files["without structure"] = file('{"kind": "parameters"}')
    files["an array is missing"] = file(STRUCTURE, {"parameters['W'][0]": (2,)})
    files["nan"] = file(STRUCTURE, fill=b"\xff")
    files["whole numbers"] = file(STRUCTURE, dtype="I64")
    return files


FILES = hostile()


def test_what_the_hostile_files_are_made_of_is_valid(tmp_path):
    (tmp_path / "m").write_bytes(file(STRUCTURE))
    assert repr(load(tmp_path / "m")) == "{'W': [array([0., 0.])], 3: (array([0., 0.]),)}"


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_an_error_of_one_line(tmp_path, name):
    (tmp_path / "m").write_bytes(FILES[name])
    with pytest.raises(DataError) as caught:
        load(tmp_path / "m")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/m: ")
    assert "\n" not in said
    assert len(said) < 600 + len(str(tmp_path))
