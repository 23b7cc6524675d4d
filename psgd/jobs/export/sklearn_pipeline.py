"""A model as a plain pipeline of scikit-learn, with the weights put in: whoever loads it needs no psgd."""

from typing import Any

import numpy as np

from psgd.core.errors import UsageError
from psgd.data.sources.preparation import NUMBER
from psgd.data.sources.spelling import codes_of
from psgd.jobs.export import sklearn_library as sklearn
from psgd.learners.model import Layer, Model

ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def sklearn_pipeline(model: Model) -> Any:
    """Return a fitted Pipeline. UsageError if scikit-learn is missing, or has no estimator for this model."""
    sklearn.check_installed()
    layers = [Layer(layer.W_IO.copy(), layer.b_O.copy(), layer.activation) for layer in model.layers]
    layers[-1] = _classifying(model, layers[-1]) if model.classes else _in_units(model, layers[-1])
    return sklearn.pipeline([*_preparation(model), ("network", _estimator(model, layers))])


def _classifying(model: Model, last: Layer) -> Layer:
    """The last layer of a classifier in scikit-learn's order of classes, with one output for two classes."""
    W_IO, b_O, activation = last
    activations = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "hinge": "identity"}
    if activations.get(model.loss) != activation:
        raise _impossible(f"a classifier with the loss {model.loss} and the output {activation}")
    if model.loss == "binary-cross-entropy" and b_O.size > 1:
        raise _impossible("a classifier of several classes with the loss binary-cross-entropy")
    order = np.argsort(np.array(model.classes))
    if b_O.size == 1:
        sign = 1 if order[0] == 0 else -1
        return Layer(sign * W_IO, sign * b_O, activation)
    W_IO, b_O = W_IO[:, order], b_O[order]
    if b_O.size == 2:  # softmax(z)[1] is sigmoid(z[1] - z[0]); of two margins the larger decides
        return Layer(W_IO[:, 1:] - W_IO[:, :1], b_O[1:] - b_O[:1], activation)
    return Layer(W_IO, b_O, activation)


def _in_units(model: Model, last: Layer) -> Layer:
    """The last layer of a regression, with outputs in the units of the target."""
    if last.activation != "identity":
        raise _impossible(f"a regression with the output {last.activation}")
    (deviation, mean), dtype = model.units, model.value_dtype
    return Layer(last.W_IO.astype(dtype) * deviation, last.b_O.astype(dtype) * deviation + mean, last.activation)


def _impossible(what: str) -> UsageError:
    return UsageError(f"scikit-learn has no estimator for {what}; use --to onnx or npz")


def _estimator(model: Model, layers: list[Layer]) -> Any:
    """A fitted estimator with these layers."""
    classes = np.sort(np.array(model.classes)) if model.classes else None
    inputs, outputs = model.inputs, layers[-1].b_O.size
    weights, biases = [layer.W_IO for layer in layers], [layer.b_O for layer in layers]
    if len(layers) == 1:
        estimator = sklearn.linear_model(classes, model.loss == "hinge", inputs, outputs)
        single = classes is None and outputs == 1
        estimator.coef_ = weights[0][:, 0] if single else weights[0].T.copy()
        estimator.intercept_ = biases[0][0] if single else biases[0]
        return estimator
    if model.loss == "hinge":
        raise _impossible("a network with hidden layers and the loss hinge")
    hidden, activation = tuple(layer.b_O.size for layer in layers[:-1]), ACTIVATIONS[layers[0].activation]
    estimator = sklearn.network(classes, hidden, activation, inputs, outputs)
    estimator.coefs_, estimator.intercepts_ = weights, biases
    vars(estimator).pop("_optimizer", None)  # its moments are as large as the weights; training makes another
    return estimator


def _preparation(model: Model) -> list[tuple[str, Any]]:
    """The steps that prepare raw inputs."""
    about = model.preparation
    if about["kind"] == "table":
        return [("columns", _columns(about["columns"]))]
    steps = [("length", sklearn.of_unit_length())] if about.get("unit") else []
    scale = about.get("scale", 1.0)
    if scale != 1:
        scaler = sklearn.scaler(with_mean=False).fit(np.zeros((1, model.inputs)))
        sklearn.set_scale(scaler, 0.0, 1.0 / scale)
        steps.append(("scale", scaler))
    return steps


def _columns(columns: list[dict[str, Any]]) -> Any:
    """A fitted transformer of the columns of a table. Numbers side by side are one part of it: scikit-learn takes
    milliseconds for a part, and a table may have thousands of columns."""
    parts: list[list[dict[str, Any]]] = []
    for about in columns:
        if parts and about["kind"] == parts[-1][0]["kind"] == NUMBER:
            parts[-1].append(about)
        else:
            parts.append([about])
    named = [([about["name"] for about in part], sklearn.pipeline(_column(part[0]))) for part in parts]
    transformer = sklearn.by_column(named).fit(sklearn.frame({about["name"]: [about["missing"]] for about in columns}))
    for part, (_, fitted, _) in zip(parts, transformer.transformers_, strict=True):
        if part[0]["kind"] != "one-hot":
            means, deviations = (np.array([about[key] for about in part]) for key in ("mean", "deviation"))
            sklearn.set_scale(fitted.named_steps["scale"], means, deviations)
        if part[0]["kind"] == NUMBER:
            usual = (np.array([about["missing"] for about in part]) - means) / deviations
            fitted.named_steps["missing"].statistics_ = usual
    return transformer


def _column(about: dict[str, Any]) -> list[tuple[str, Any]]:
    """The steps that prepare a column; a text that is no category is taken as missing."""
    if about["kind"] == NUMBER:  # scaled first: an imputer refuses to fill a column of whole numbers with a float
        return [("scale", sklearn.scaler()), ("missing", sklearn.filled(0.0))]
    categories: list[str] = about["categories"]
    last = ("one_hot", sklearn.one_hot(len(categories))) if about["kind"] == "one-hot" else ("scale", sklearn.scaler())
    code = float(categories.index(about["missing"]))
    return [("code", sklearn.codes(codes_of(categories))), ("missing", sklearn.filled(code)), last]
