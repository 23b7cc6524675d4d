"""psgd.export: arrays, files that need no psgd, and mistakes."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
from command import run
from exported_models import HEADS, drawn, made, scaled
from processes import python

import psgd
from psgd.core.errors import DataError, UsageError
from psgd.export import main
from psgd.jobs.export import onnx_model as onnx_module
from psgd.jobs.export.arrays import model_arrays
from psgd.jobs.export.export import export
from psgd.jobs.export.onnx_model import onnx_model

__all__ = ["run"]  # a fixture


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
