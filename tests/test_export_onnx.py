"""Exported models give the predictions of psgd by onnxruntime."""

import numpy as np
import pytest
from exported_models import ACTIVATIONS, HEADS, check_onnx, drawn, made, run_onnx, scaled
from scipy.sparse import csr_matrix


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


def test_values_that_were_not_standardised_have_the_dtype_of_the_parameters():
    model, X = made(HEADS[7], scaled(None), 5), drawn(20, 5)
    assert model.outputs(X).dtype == run_onnx(model, {"X": X.astype(np.float32)})[0].dtype == np.float32
