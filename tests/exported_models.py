"""Models of every kind, and checks that what is exported from them predicts the same."""

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from psgd.jobs.export.onnx_model import onnx_model
from psgd.jobs.export.sklearn_pipeline import sklearn_pipeline
from psgd.learners.model import Model
from psgd.learners.model_about import About

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'psgd[export]'")
pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'psgd[sklearn]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")
pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")

ACTIVATIONS = ("relu", "sigmoid", "tanh", "identity")
# Loss, output activation, outputs, classes.
HEADS = [
    ("cross-entropy", "softmax", 3, ["b", "a", "c"]),
    ("cross-entropy", "softmax", 2, [7, 3]),
    ("binary-cross-entropy", "sigmoid", 1, ["yes", "no"]),
    ("binary-cross-entropy", "sigmoid", 3, [0, 1, 2]),
    ("hinge", "identity", 1, [0, 1]),
    ("hinge", "tanh", 3, [2, 1, 0]),
    ("squared-error", "sigmoid", 3, [0, 1, 2]),
    ("squared-error", "identity", 1, []),
    ("huber", "identity", 2, []),
    ("squared-error", "tanh", 2, []),
]


def made(
    head: tuple[str, str, int, list[Any]],
    preparation: dict[str, Any],
    inputs: int,
    activation: str = "tanh",
    hidden: tuple[int, ...] = (6, 4),
    dtype: str = "float32",
    kind: str = "mlp",
) -> Model:
    """A model of random parameters."""
    loss, output, outputs, classes = head
    sizes = [inputs, *hidden, outputs]
    network = {"activation": activation, "output": output, "loss": loss}
    about = {"kind": kind, "sizes": sizes, "model": network, "classes": classes, "preparation": preparation}
    count = sum((a + 1) * b for a, b in pairwise(sizes))
    return Model(About(**about), preparation, np.random.default_rng(count).standard_normal(count).astype(dtype))


def scaled(shape: list[int] | None, scale: float = 0.25) -> dict[str, Any]:
    return {"kind": "scale", "scale": scale, "shape": shape}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 9, shape).astype(np.float64)


def run_onnx(model: Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Predictions, and probabilities or outputs; run by the number of threads that is quickest to start."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def check_onnx(model: Model, X: Any, feeds: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    predictions, *others = run_onnx(model, feeds)
    outputs = model.outputs(X)
    if not model.classes:
        scale = max(1.0, np.abs(outputs).max())
        np.testing.assert_allclose(predictions / scale, model.predict(X) / scale, atol=tolerance)
        assert not others
        return
    wanted = model.predict_probabilities(X) if model.probabilistic else outputs
    np.testing.assert_allclose(others[0], wanted, atol=tolerance)
    assert predictions.tolist() == model.predict(X).tolist()


def check_sklearn(model: Model, X: Any, raw: Any) -> None:
    stored = pickle.dumps(sklearn_pipeline(model))
    assert b"psgd" not in stored
    pipeline = pickle.loads(stored)
    wanted = model.predict(X)
    if not model.classes:
        np.testing.assert_allclose(pipeline.predict(raw), wanted, rtol=1e-5, atol=1e-5)
        return
    assert pipeline.predict(raw).tolist() == wanted.tolist()
    assert pipeline.classes_.tolist() == sorted(model.classes)
    order = np.argsort(np.array(model.classes))
    if model.probabilistic:
        np.testing.assert_allclose(pipeline.predict_proba(raw), model.predict_probabilities(X)[:, order], atol=1e-5)
