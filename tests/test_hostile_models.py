"""A stranger's model file: whatever it holds, loading it is a DataError of one line, or gives a model that predicts.

No number in a file is trusted before it has been compared with the size of the file: loading allocates nothing more.
"""

import copy
import json
import struct
from typing import Any

import numpy as np
import pytest
from peak_memory import peak_memory
from unprivileged import unprivileged

from psgd.core.errors import DataError
from psgd.learners.model_file import load

__all__ = ["unprivileged"]  # a fixture
ABOUT: dict[str, Any] = {
    "psgd": "0.1.0",
    "kind": "mlp",
    "sizes": [4, 3, 2],
    "model": {"activation": "relu", "output": "softmax", "loss": "cross-entropy"},
    "classes": ["a", "b"],
    "preparation": {
        "kind": "table",
        "separator": "comma",
        "target": {"name": "fate"},
        "columns": [
            {"name": "age", "kind": "number", "missing": 1.0, "mean": 2.0, "deviation": 3.0},
            {"name": "town", "kind": "codes", "categories": ["A", "B"], "missing": "A", "mean": 0.5, "deviation": 0.5},
            {"name": "sex", "kind": "one-hot", "categories": ["f", "m"], "missing": "f"},
        ],
    },
}
SPARSE: dict[str, Any] = {
    "kind": "sparse-linear",
    "sizes": [3, 1],
    "model": {"activation": "relu", "output": "identity", "loss": "hinge"},
    "classes": [-1, 1],
    "preparation": {"kind": "libsvm", "zero_based": False, "unit": True},
}
LAYERS = {"layers.1.weights": (4, 3), "layers.1.biases": (3,), "layers.2.weights": (3, 2), "layers.2.biases": (2,)}
ROW = [{"age": 1, "town": "B", "sex": "m"}]


def header_of(shapes: dict[str, tuple[int, ...]], dtype: str = "F32", size: int = 4) -> dict[str, Any]:
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + size * int(np.prod(shape))
        header[name], at = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}, end
    return header


def raw(header: Any, content: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def model(about: Any = ABOUT, shapes: Any = LAYERS, dtype: str = "F32", size: int = 4, fill: bytes = b"\0") -> bytes:
    text = about if isinstance(about, str) else json.dumps(about)
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    return raw({"__metadata__": {"psgd": text}, **header_of(shapes, dtype, size)}, fill * size * count)


GOOD = {
    "table": model(),
    "float64": model(dtype="F64", size=8),
    "sparse": model(SPARSE, {"weights": (3, 1), "bias": (1,)}),
    "keys of a later version": model({**ABOUT, "later": [1]}),
    "another array": model(shapes={**LAYERS, "more": (2,)}),
}


def changed(*path: Any, about: dict[str, Any] = ABOUT, to: Any) -> Any:
    about = copy.deepcopy(about)
    place: Any = about
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return about


def hostile() -> dict[str, bytes]:
    good, header, content = model(), header_of(LAYERS), b"\0" * 4 * 23
    files = {f"cut after {n} bytes": good[:n] for n in (0, 1, 7, 8, 9, 100, len(good) - 1)}
    files |= {f"length {n}": raw(header, content, n) for n in (0, 1, 2, 10**6, 10**9, 2**40, 2**63 - 1, 2**64 - 1)}
    texts = [b"", b"null", b"[]", b"3", b'"x"', b"{", b"{}", b"\xff\xfe", b"[" * 100000, b'{"a":' * 20000]
    files |= {f"header {text[:9]!r} {len(text)}": raw(text, content) for text in texts}
    entries: list[Any] = [None, 3, [], {}, {"dtype": "F32"}, {"dtype": "F32", "shape": [2]}]
    for field, values in {
        "data_offsets": ([60, 70], [-4, 4], [8, 0], [0, 8], [0, 2**62], [2**70, 2**71], ["a", "b"], [84], 84, [84, 93]),
        "shape": ([-2], [2**62, 2**62], [2.0], ["2"], 2, [[2]], [10**20], [1, 2], [3], [], None, [1] * 100000),
        "dtype": ("F99", "", None, 4, "O", "BF16", "F16", "F8_E4M3", "I64", "BOOL", "C64", "U8"),
    }.items():
        entries += [{**header["layers.2.biases"], field: value} for value in values]
    for e in entries:
        whole = {"__metadata__": {"psgd": json.dumps(ABOUT)}, **header, "layers.2.biases": e}
        files[f"entry {e}"[:200]] = raw(whole, content)
    metadata: list[Any] = [None, {}, {"psgd": None}, {"psgd": 3}, {"psgd": {}}, {"psgd": []}, [], "x", {"other": "x"}]
    files |= {f"metadata {value}": raw({"__metadata__": value, **header}, content) for value in metadata}
    texts_in = ["", "null", "3", "[]", "{}", "{", "NaN", "[" * 100000, '{"a":' * 50000, "\0", "1" * 5000, "1e99999"]
    files |= {f"about {text[:9]!r} {len(text)}": model(text) for text in texts_in}
    files |= {f"without {key}": model({k: v for k, v in ABOUT.items() if k != key}) for key in ABOUT if key != "psgd"}
    wrong: dict[tuple[Any, ...], list[Any]] = {
        ("kind",): [None, 3, "", "forest", ["mlp"], "sparse-linear"],
        ("sizes",): [None, 3, [], [4], [4, 2], [4, -3, 2], [4, 0, 2], [4, 3.5, 2], ["4", 3, 2], [4, 10**11, 2],
                     [4, 10**400, 2], [274877906944, 1], [4] * 100000, {"0": 4}, [True, 3, 2], [[4], 3, 2]],
        ("model",): [None, [], {}, "relu"],
        ("model", "activation"): [None, "softmax", "swish", 3, ["relu"], "__class__"],
        ("model", "output"): [None, "maxout", {}],
        ("model", "loss"): [None, "mse", 1],
        ("classes",): [None, 3, "ab", ["a"], ["a", "a"], ["a", None], [["a"], "b"], [0.5, 1], ["a", "b", "c"], {"a": 1},
                       ["a", "\ud800"]],
        ("preparation",): [None, [], {}, "table", {"kind": "table"}, {"kind": "pickle"}, {"kind": 3},
                           {"kind": "scale", "scale": 1.0, "shape": [5]}, {"kind": "scale", "scale": 0.0, "shape": [4]},
                           {"kind": "scale", "scale": float("nan")}, {"kind": "scale", "scale": 1.0, "shape": [-4, -1]},
                           {"kind": "scale", "scale": "1"}, {"kind": "libsvm", "zero_based": 1, "unit": False}],
        ("preparation", "separator"): [None, "pipe", ","],
        ("preparation", "target"): [None, {}, "fate", {"name": 3}, {"name": "age"}],
        ("preparation", "columns"): [None, [], {}, [None], [{}], ["age"], ABOUT["preparation"]["columns"][:2],
                                     ABOUT["preparation"]["columns"][:1] * 4],
        ("preparation", "columns", 0, "deviation"): [0, None, "1", -1.0, float("inf")],
        ("preparation", "columns", 0, "mean"): [None, float("nan"), []],
        ("preparation", "columns", 0, "name"): [None, 3, "town"],
        ("preparation", "columns", 1, "categories"): [None, [], "AB", ["A", 3], ["A", "A"], ["B"]],
        ("preparation", "columns", 2, "missing"): [None, "x", 0],
        ("preparation", "columns", 2, "kind"): [None, "number", "embedding"],
    }  # fmt: skip
    files |= {f"{path} {str(value)[:60]} {n}": model(changed(*path, to=value))
              for path, values in wrong.items() for n, value in enumerate(values)}  # fmt: skip
    one = {"weights": (3, 1), "bias": (1,)}
    files |= {
        f"sparse {value}": model(changed("sizes", about=SPARSE, to=value), one) for value in ([3, 2], [4, 1], [3, 1, 1])
    }
    files |= {"nan": model(fill=b"\xff"), "a dtype of each": model(shapes=LAYERS, dtype="I64", size=8)}
    for name in LAYERS:
        files[f"no {name}"] = model(shapes={n: s for n, s in LAYERS.items() if n != name})
        files[f"transposed {name}"] = model(shapes={n: s[::-1] if n == name else (*s, 1) for n, s in LAYERS.items()})
    return files


FILES = hostile()


@pytest.mark.parametrize("name", GOOD)
def test_what_the_hostile_files_are_made_of_is_a_model(tmp_path, name):
    (tmp_path / "m").write_bytes(GOOD[name])
    loaded = load(tmp_path / "m")
    outputs = loaded.outputs(np.zeros((1, 3)) if name == "sparse" else ROW)
    assert outputs.tolist() == [[0]] if name == "sparse" else [[0.5, 0.5]]


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_an_error_of_one_line(tmp_path, name):
    (tmp_path / "m").write_bytes(FILES[name])

    def refused() -> pytest.ExceptionInfo[DataError]:
        with pytest.raises(DataError) as caught:
            load(tmp_path / "m")
        return caught

    caught, peak = peak_memory(refused)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/m: ")
    assert "\n" not in said
    assert len(said) < 500 + len(str(tmp_path))
    assert peak < 50 * 2**20


def test_changes_of_single_bytes_never_raise_anything_else(tmp_path):
    """Each byte of the header replaced, and each of the first weights; a change may well leave a valid model."""
    good, draw, refused = model(), np.random.default_rng(0), 0
    for place in range(0, len(good), 3):
        changed_file = bytearray(good)
        changed_file[place] = draw.integers(256)
        (tmp_path / "m").write_bytes(changed_file)
        try:
            load(tmp_path / "m")
        except DataError:
            refused += 1
    assert refused > 200


def test_a_model_that_may_not_be_read_is_not_said_to_be_missing(tmp_path, request):
    path = tmp_path / "model.safetensors"
    path.write_bytes(model())
    path.chmod(0)
    request.getfixturevalue("unprivileged")
    with pytest.raises(DataError, match=r"cannot be read as a model: Permission denied$"):
        load(path)
