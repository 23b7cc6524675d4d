"""Builds the ONNX graph of a model: raw inputs, their preparation, the network, predictions and probabilities.

An array is one input X, of the shape of the training examples. A table has an input (N, 1) for each column: double for
numbers, where nan is a missing value, and string for categories, where any text that is no category is one.
"""

from typing import Any

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.version import __version__
from psgd.data.sources.spelling import codes_of
from psgd.jobs.export.onnx_graph import Graph
from psgd.learners.model import Model

LARGEST_BYTES = 2**31 - 2**20  # of a file: protobuf writes no more than 2 GiB
OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def onnx_model(model: Model) -> Any:
    """Return the ModelProto of a model. UsageError if it is too large, or onnx is missing."""
    size = sum(layer.W_IO.nbytes + layer.b_O.nbytes for layer in model.layers)
    if size > LARGEST_BYTES:
        raise UsageError(f"the model has {size:,} bytes, and a file of ONNX holds 2 GiB; use --to npz")
    columns = [column["name"] for column in model.preparation.get("columns", [])] or ["X"]
    prediction = _free("prediction", columns)
    second = _free("probabilities" if model.probabilistic else "outputs", columns)
    graph = Graph([*columns, prediction, second])
    A = _prepared(graph, model)
    for W_IO, b_O, activation in model.layers:
        A = graph.add("Add", graph.add("MatMul", A, graph.constant(W_IO)), graph.constant(b_O))
        if activation == "softmax":
            A = graph.add("Softmax", A, axis=1)
        elif activation != "identity":
            A = graph.add(OPERATORS[activation], A)
    if model.classes:
        _classify(graph, model, A, prediction, second)
    else:
        _values(graph, model, A, prediction)
    return graph.model({"psgd": __version__, "loss": model.loss})


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _prepared(graph: Graph, model: Model) -> str:
    """Add the preparation; returns the inputs (N, F) of the network."""
    about, dtype = model.preparation, model.dtype
    if about["kind"] == "table":
        parts = [_column(graph, column) for column in about["columns"]]
        return graph.cast(parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1), dtype)
    shape = about.get("shape") or [model.inputs]
    X = graph.input("X", dtype, ["N", *shape])
    if len(shape) > 1:
        X = graph.add("Flatten", X, axis=1)
    if about.get("unit"):
        norms = graph.add("ReduceL2", X, axes=[1], keepdims=1)
        empty = graph.add("Equal", norms, graph.constant(np.zeros((), dtype)))
        X = graph.add("Div", X, graph.add("Where", empty, graph.constant(np.ones((), dtype)), norms))
    scale = about.get("scale", 1.0)
    return X if scale == 1 else graph.add("Mul", X, graph.constant(np.array(scale, dtype)))


def _column(graph: Graph, about: dict[str, Any]) -> str:
    """Add the preparation of a column of a table: its inputs (N, 1), or (N, categories), in float64."""
    if about["kind"] == "number":
        raw = graph.input(about["name"], np.float64, ["N", 1])
        value = graph.add("Where", graph.add("IsNaN", raw), graph.constant(np.float64(about["missing"])), raw)
    else:
        raw, places = graph.input(about["name"], np.str_, ["N", 1]), codes_of(about["categories"])
        code = graph.add(
            "LabelEncoder", raw, domain="ai.onnx.ml", keys_strings=list(places), values_int64s=list(places.values()),
            default_int64=about["categories"].index(about["missing"]),
        )  # fmt: skip
        if about["kind"] == "one-hot":
            codes = range(len(about["categories"]))
            return graph.cast(graph.add("Equal", code, graph.constant(np.array([codes], np.int64))), np.float64)
        value = graph.cast(code, np.float64)
    centred = graph.add("Sub", value, graph.constant(np.float64(about["mean"])))
    return graph.add("Div", centred, graph.constant(np.float64(about["deviation"])))


def _classify(graph: Graph, model: Model, A: str, prediction: str, second: str) -> None:
    """Add the outputs of a classifier: names of classes (N,), and as `second` probabilities (N, classes) or else the
    network's outputs (N, O), such as margins."""
    dtype, outputs = model.dtype, model.layers[-1].b_O.size
    if outputs == 1:
        index = graph.cast(graph.add("Greater", A, graph.constant(np.array(model.threshold, dtype))), np.int64)
        index = graph.add("Squeeze", index, graph.constant(np.array([1])))
    else:
        index = graph.add("ArgMax", A, axis=1, keepdims=0)
    names = np.array(model.classes)
    names = names if names.dtype.kind == "U" else names.astype(np.int64)
    graph.add("Gather", graph.constant(names), index, output=prediction)
    graph.output(prediction, names.dtype, ["N"])
    if model.probabilistic and outputs == 1:
        other = graph.add("Sub", graph.constant(np.ones((), dtype)), A)
        graph.add("Concat", other, A, axis=1, output=second)
    elif model.probabilistic and model.layers[-1].activation == "sigmoid":
        A = graph.add("Add", A, graph.constant(np.array(np.finfo(dtype).tiny, dtype)))
        graph.add("Div", A, graph.add("ReduceSum", A, graph.constant(np.array([1])), keepdims=1), output=second)
    else:
        graph.add("Identity", A, output=second)
    graph.output(second, dtype, ["N", len(model.classes) if model.probabilistic else outputs])


def _values(graph: Graph, model: Model, A: str, prediction: str) -> None:
    """Add the output of a regression: values (N,), or (N, O), in the units of the target."""
    dtype, outputs, (deviation, mean) = model.value_dtype, model.layers[-1].b_O.size, model.units
    if dtype != model.dtype:
        A = graph.cast(A, dtype)
    for operator, number in (("Mul", deviation), ("Add", mean)):
        if number != (operator == "Mul"):
            A = graph.add(operator, A, graph.constant(np.array(number, dtype)))
    if outputs == 1:
        graph.add("Squeeze", A, graph.constant(np.array([1])), output=prediction)
    else:
        graph.add("Identity", A, output=prediction)
    graph.output(prediction, dtype, ["N"] if outputs == 1 else ["N", outputs])
