"""Exported models give the predictions of psgd by scikit-learn, without psgd."""

import pytest
from exported_models import ACTIVATIONS, HEADS, check_sklearn, drawn, made, scaled
from scipy.sparse import csr_matrix

from psgd.core.errors import UsageError
from psgd.jobs.export.sklearn_pipeline import sklearn_pipeline


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
