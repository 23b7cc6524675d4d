"""Exported models give the predictions of psgd: by onnxruntime, by numpy alone, and by scikit-learn without psgd."""

import json
import pickle
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from command import run
from processes import python
from scipy.sparse import csr_matrix

import psgd
from psgd.core.errors import DataError, UsageError
from psgd.export import main
from psgd.jobs.export import onnx_model as onnx_module
from psgd.jobs.export.arrays import model_arrays
from psgd.jobs.export.export import export
from psgd.jobs.export.onnx_model import onnx_model
from psgd.jobs.export.sklearn_pipeline import sklearn_pipeline
from psgd.jobs.predictions import write_csv
from psgd.learners.model import Model
from psgd.learners.model_about import About

__all__ = ["run"]  # a fixture

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'psgd[export]'")
pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'psgd[sklearn]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")
pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")

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
NUMBER = {"kind": "number", "missing": 30.0, "mean": 32.5, "deviation": 11.0}
TEXTS = {"categories": ["A", "B", "C"], "missing": "B"}
COLUMNS = [
    {"name": "age", **NUMBER},
    {"name": "rooms", **NUMBER},
    {"name": "home town", "kind": "codes", "mean": 0.9, "deviation": 0.7, **TEXTS},
    {"name": "probabilities", "kind": "one-hot", **TEXTS},
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


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head[:3])))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_agrees_for_every_activation_and_loss(activation, head):
    model, X = made(head, scaled(None), 5, activation), drawn(50, 5)
    check_onnx(model, X, {"X": X.astype(np.float32)})


def test_probabilities_of_several_sigmoids_have_the_sum_1():
    model, X = made(HEADS[3], scaled(None), 5, hidden=()), drawn(50, 5)
    found = model.predict_probabilities(X)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found * model.outputs(X).sum(axis=1, keepdims=True), model.outputs(X), atol=1e-6)
    assert model.probabilities(np.zeros((1, 3), np.float32)).tolist() == [[np.float32(1 / 3)] * 3]


def test_onnx_takes_images_as_they_are_and_double_precision():
    model, X = made(HEADS[0], scaled([3, 4], 1 / 255), 12, dtype="float64", hidden=()), drawn(20, 3, 4)
    check_onnx(model, X, {"X": X}, 1e-12)


def test_onnx_scales_rows_to_unit_length_with_empty_ones():
    X = drawn(20, 8)
    X[3] = 0
    preparation = {"kind": "libsvm", "zero_based": False, "unit": True}
    model = made(HEADS[2], preparation, 8, hidden=(), kind="sparse-linear")
    check_onnx(model, csr_matrix(X), {"X": X.astype(np.float32)})


def rows() -> dict[str, list[Any]]:
    """Rows of a table with missing values and categories that no training row has."""
    return {
        "age": [31.0, float("nan"), -4.5, 1e6],
        "rooms": [1, 2, 3, 4],
        "home town": ["A", "C", "", "elsewhere"],
        "probabilities": ["C", "A", "NA", "B"],
    }


def feeds_of_rows() -> dict[str, np.ndarray]:
    feeds = {name: np.array(column)[:, None] for name, column in rows().items()}
    return {name: x.astype(object if x.dtype.kind == "U" else np.float64) for name, x in feeds.items()}


def table(target: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "table", "separator": "comma", "target": {"name": "y", **target}, "columns": COLUMNS}


@pytest.mark.parametrize("head", [HEADS[0], HEADS[2], HEADS[7]], ids=lambda head: f"{head[0]}-{head[2]}")
@pytest.mark.filterwarnings("ignore:home town")
def test_tables_are_prepared_by_onnx_and_by_scikit_learn(head):
    target = {} if head[3] else {"mean": 250e3, "deviation": 9e4}
    model, frame = made(head, table(target), 6), pandas.DataFrame(rows())
    check_onnx(model, frame, feeds_of_rows())
    check_sklearn(model, frame, frame.replace({"": None}))


@pytest.mark.filterwarnings("ignore:home town")
def test_values_far_from_zero_keep_their_digits(capsys):
    frame = pandas.DataFrame(rows())
    plain, far = (made(HEADS[7], table(target), 6) for target in ({}, {"mean": 1.7e9, "deviation": 1e3}))
    wanted = plain.outputs(frame) * 1e3 + 1.7e9
    assert (wanted.dtype, far.outputs(frame).tobytes()) == (np.float64, wanted.tobytes())
    write_csv(far, wanted, None)
    assert [float(line) for line in capsys.readouterr().out.split()[1:]] == wanted[:, 0].tolist()
    np.testing.assert_allclose(run_onnx(far, feeds_of_rows())[0], wanted[:, 0], rtol=0, atol=0.01)
    exported = sklearn_pipeline(far).predict(frame.replace({"": None}))
    np.testing.assert_allclose(exported, wanted[:, 0], rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", ["codes", "one-hot"])
@pytest.mark.parametrize(
    ("categories", "cells"),
    [
        (["1", "2", "3"], [3, 1, 2, 4]),
        (["1", "2", "3"], [3.0, np.nan, 2.0, 1.5]),
        (["1.0", "2.0"], [2, 1, 1, 2]),
        (["1", "1.0"], [1.0, 1.0, np.nan, 1.0]),
        (["007", "7"], [7.0, 7.0, np.nan, 7.0]),
        (["FALSE", "TRUE"], [True, False, False, True]),
        (["False", "True"], [True, None, False, True]),
    ],
)
@pytest.mark.filterwarnings("ignore:k:UserWarning")
def test_categories_are_found_as_pandas_reads_them(kind, categories, cells):
    column = {"name": "k", "kind": kind, "categories": categories, "missing": categories[-1]}
    column |= {"mean": 0.9, "deviation": 0.7} if kind == "codes" else {}
    inputs = 1 if kind == "codes" else len(categories)
    model, frame = made(HEADS[7], {**table({}), "columns": [column]}, inputs), pandas.DataFrame({"k": cells})
    check_sklearn(model, frame, frame)
    check_onnx(model, frame, {"k": np.asarray(frame, dtype=str).astype(object)})


def test_columns_may_have_the_names_of_scikit_learns_parameters():
    names = ["verbose", "remainder", "n_jobs", "transformers", "a__b"]
    columns = [{"name": name, **NUMBER} for name in names]
    model, frame = made(HEADS[2], {**table({}), "columns": columns}, 5), pandas.DataFrame(drawn(9, 5), columns=names)
    check_sklearn(model, frame, frame)


def test_numbers_side_by_side_are_one_part_of_the_pipeline():
    """A pipeline with a part for each of 5,000 columns took 20 s to be made, and 6 s to predict from a row."""
    draw = np.random.default_rng(0)
    columns = [
        {"name": f"n{n}", "kind": "number", "missing": n / 7, "mean": n / 5, "deviation": 1.0 + n} for n in range(200)
    ]
    columns.insert(100, COLUMNS[2])
    model = made(HEADS[2], {**table({}), "columns": columns}, 201)
    frame = pandas.DataFrame(draw.normal(0, 100, (20, 200)), columns=[f"n{n}" for n in range(200)])
    frame = frame.where(draw.random(frame.shape) < 0.8).assign(**{"home town": "A"})
    check_sklearn(model, frame, frame[frame.columns[::-1]])
    assert len(sklearn_pipeline(model)[0].transformers_) == 3


def test_values_that_were_not_standardised_have_the_dtype_of_the_parameters():
    model, X = made(HEADS[7], scaled(None), 5), drawn(20, 5)
    assert model.outputs(X).dtype == run_onnx(model, {"X": X.astype(np.float32)})[0].dtype == np.float32


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


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head[:3])))
@pytest.mark.parametrize("hidden", [(), (6, 4)], ids=["linear", "hidden"])
def test_scikit_learn_agrees_or_says_what_it_cannot(head, hidden):
    loss, output, outputs, _ = head
    X = drawn(50, 5)
    refused = (
        (loss == "binary-cross-entropy" and outputs > 1)
        or (loss == "hinge" and (hidden or output != "identity"))
        or (loss == "squared-error" and output != "identity")
    )
    for activation in ACTIVATIONS[: 4 if hidden else 1]:
        model = made(head, scaled(None), 5, activation, hidden)
        if refused:
            with pytest.raises(UsageError, match=r"scikit-learn has no estimator for .*; use --to onnx or npz"):
                sklearn_pipeline(model)
        else:
            check_sklearn(model, X, X)


@pytest.mark.parametrize("head", [HEADS[2], HEADS[4], HEADS[7]], ids=lambda head: head[0])
def test_scikit_learn_takes_sparse_rows_of_unit_length(head):
    X = csr_matrix(drawn(20, 8))
    preparation = {"kind": "libsvm", "zero_based": True, "unit": True}
    model = made(head, preparation, 8, hidden=(), kind="sparse-linear")
    check_sklearn(model, X, X)
    check_sklearn(model, X.toarray(), X)


def test_arrays_are_enough_to_compute_the_outputs_by_hand(tmp_path):
    model, X = made(HEADS[0], scaled(None), 5, "relu"), drawn(20, 5)
    np.savez(tmp_path / "m.npz", **model_arrays(model))
    stored = np.load(tmp_path / "m.npz", allow_pickle=False)
    about = json.loads(stored["about"].item())
    assert about["sizes"] == [5, 6, 4, 3]
    assert about["activations"] == ["relu", "relu", "softmax"]
    A = X * about["preparation"]["scale"]
    for layer in (1, 2, 3):
        Z = A @ stored[f"layers.{layer}.weights"] + stored[f"layers.{layer}.biases"]
        A = np.maximum(Z, 0)
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(E / E.sum(axis=1, keepdims=True), model.predict_probabilities(X), atol=1e-5)
    assert [about["classes"][place] for place in Z.argmax(axis=1)] == model.predict(X).tolist()


def test_the_command_prints_the_path_and_overwrites_nothing(run, tmp_path):
    path = tmp_path / "digits.npz"
    arguments = ("-m", "psgd.export", str(run), "--to", "npz", "--output", str(path))
    first = python(*arguments)
    assert (first.code, first.stdout, first.stderr) == (0, f"{path}\n", "")
    before = path.read_bytes()
    again = python(*arguments)
    assert (again.code, again.stdout) == (2, "")
    assert again.stderr == f"psgd: {path} exists already; remove it, or name another file by --output\n"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("to", "line"),
    [
        ((), "--to is missing; it names the format: --to onnx, --to npz, --to sklearn"),
        (("--to", "pkl"), "--to is 'pkl'; it must be one of onnx, npz, sklearn"),
    ],
)
def test_a_format_that_is_missing_or_unknown_is_one_line_with_the_formats(run, capfd, to, line):
    assert main([str(run), *to]) == 2
    assert capfd.readouterr() == ("", f"psgd: {line}\n")


def test_files_need_no_psgd(run, tmp_path):
    images = drawn(30, 64)
    wanted = psgd.load(run).predict(images).tolist()
    for to, ending in (("onnx", "onnx"), ("sklearn", "pkl")):
        assert main([str(run), "--to", to, "--output", str(tmp_path / f"digits.{ending}")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "digits.onnx")
    assert session.run(None, {"X": images.astype(np.float32)})[0].tolist() == wanted
    np.save(tmp_path / "x.npy", images)
    code = (
        "import pickle, sys, numpy as np\n"
        "sys.modules['psgd'] = None\n"
        f"model = pickle.load(open({str(tmp_path / 'digits.pkl')!r}, 'rb'))\n"
        f"print(model.predict(np.load({str(tmp_path / 'x.npy')!r})).tolist())"
    )
    assert json.loads(python("-c", code).stdout) == wanted


def test_mistakes_are_one_line_and_write_nothing(run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path / "none"), "--to", "npz"]) == 3
    assert main([str(run), "--to", "npz", "--output", str(tmp_path / "no" / "x.npz")]) == 3
    assert capfd.readouterr().err.count("\n") == 2
    monkeypatch.setattr(onnx_module, "LARGEST_BYTES", 100)
    with pytest.raises(UsageError, match="a file of ONNX holds 2 GiB; use --to npz"):
        onnx_model(psgd.load(run))
    assert not list(tmp_path.iterdir())
    assert main([str(run), "--to", "npz"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_numbers_that_overflow_are_an_error(tmp_path, monkeypatch):
    model = made(HEADS[7], scaled(None, 1e300), 5)
    monkeypatch.setattr("psgd.jobs.export.export.load", lambda _: model)
    with pytest.raises(DataError, match="m: its numbers overflow in --to onnx; use --to npz, or train on smaller"):
        export(tmp_path / "m", "onnx", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "to", "line"),
    [("onnx", "onnx", "pip install 'psgd[export]'"), ("sklearn", "sklearn", "pip install 'psgd[sklearn]'")],
)
def test_a_missing_package_is_named(run, tmp_path, monkeypatch, capfd, module, to, line):
    monkeypatch.setitem(sys.modules, module, None)
    assert main([str(run), "--to", to, "--output", str(tmp_path / "x")]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert line in said
    assert not list(tmp_path.iterdir())
