"""What psgd.fit says of arguments, data and a function that are invalid."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from still_fit import DATA, still

import psgd
from psgd.core.errors import DataError, Diverged, UsageError
from psgd.data.user_arrays import as_user_arrays


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(3), r"gradient of parameters has shape \(3,\); it must be \(2,\)"),
        (np.zeros((2, 1)), r"shape \(2, 1\); it must be \(2,\)"),
        (np.zeros(2, np.float32), "is float32, but the parameters are float64"),
        (np.zeros(2, complex), "is complex128, but"),
        ([np.zeros(2)], "gradient returned a list of 1; it must return a gradient like the parameters"),
        (None, "gradient returned None; end it with `return gradient`"),
        ([None], "gradient returned a list of 1"),
        ((0.5, np.zeros(2)), r"gradient returned \(loss, gradient\); return them in the order \(gradient, loss\)"),
        ((np.float32(0.5), np.zeros(2)), r"returned \(loss, gradient\)"),
        (
            ([np.zeros(2)], 0.5),
            r"but the gradient must have the lists, .* is an array of shape \(2,\), its gradient a list of 1",
        ),
        ((np.zeros(2), "0.5"), "the loss that gradient returned is str '0.5'; it must be one number"),
        ((np.zeros(2), np.zeros(2)), "the loss that gradient returned is an array of shape"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_invalid_gradients_are_errors(returned, message, check):
    def gradient(parameters, X, y):
        return returned

    with pytest.raises(UsageError, match=message) as caught:
        psgd.fit(gradient, np.zeros(2), DATA, workers=2, batch_size_per_worker=3, check=check)
    where = "first call, with the initial parameters" if check else "worker 0, round 0"
    assert caught.value.__notes__ == [f"psgd.fit: in {'the ' * check}{where}"]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("first", [0.5, None])
def test_a_loss_that_is_returned_in_some_calls_only_is_an_error(first, check):
    losses = itertools.chain([first], itertools.cycle([None, 0.5]))
    with pytest.raises(UsageError, match="gradient returns a loss in some calls and none in others; return it in all"):
        psgd.fit(
            lambda parameters, X, y: (np.zeros(2), next(losses)),
            np.zeros(2),
            DATA,
            batch_size_per_worker=3,
            check=check,
        )


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"W": np.zeros(2), "c": np.zeros(1)}, "keys 'W', 'b', its gradient a dict of 2 with the keys 'W', 'c'"),
        ({"W": np.zeros(2), "b": [1.0]}, r"parameters\['b'\] is an array of shape \(1,\), its gradient a list of 1"),
        ({"W": np.zeros(2), "b": None}, r"the gradient of parameters\['b'\] is NoneType None"),
        ({"W": np.zeros((2, 1)), "b": np.zeros(1)}, r"parameters\['W'\] has shape \(2, 1\); it must be \(2,\)"),
        ((0.5, {"W": np.zeros(2), "b": np.zeros(1)}), r"returned \(loss, gradient\)"),
    ],
)  # fmt: skip
def test_an_invalid_gradient_in_a_tree_is_named_by_its_leaf(returned, message):
    with pytest.raises(UsageError, match=message):
        psgd.fit(lambda parameters, X, y: returned, {"W": np.zeros(2), "b": np.zeros(1)}, DATA, batch_size_per_worker=3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strategy": "averaging"}, "psgd.fit: strategy is \"averaging\"; it must be one of"),
        ({"strategy": "gradient-averaging", "period": 5}, "period is not a .* change strategy$"),
        ({"strategy": {"name": "parameter-averaging", "period": 5}, "period": 5}, "period is given twice"),
        ({"strategy": {"nam": "parameter-averaging"}}, "did you mean name"),
        ({"optimizer": {"name": "sgd", "l2": 0.1}}, r"optimizer\['l2'\] is 0.1, .* add it to your gradient"),
        ({"epochs": 0}, "psgd.fit: epochs is 0"),
        ({"learning_rate": abs}, "a function; .* optimizer={'name': 'sgd', 'schedule': 'cosine'}, or schedule 'step'"),
        ({"workers": 2.5}, "workers is 2.5; it must be a whole number"),
        ({"workers": "auto"}, "workers is auto"),
        ({"workers": 0}, "workers is 0; it must be a whole number greater than 0$"),
        ({"strategy": {"name": "weighted-averaging", "contraction": 5}}, "at most 1, or holdout, or auto$"),
        ({"strategy": "zinkevich"}, r"did you mean parameter-averaging\?"),
        ({"batch_size_per_worker": 7}, "^batch_size_per_worker is 7, but there are 6 training examples"),
        ({"strategy": {"contraction": "auto"}}, r"set strategy\['contraction'\] to holdout"),
        ({"processes": 2}, "say group='threads'"),
        ({"speeds": [1, 0.5]}, "speeds names 2 speeds, but workers is 4"),
        ({"workers": 2, "speeds": [1, 0.5]}, "give one, or strategy="),
        ({"test": DATA}, "test is scored by"),
        ({"loss": 3.0}, "loss is float; it must be a function"),
        ({"progress": True}, r"return \(gradient, loss\)"),
    ],
)  # fmt: skip
def test_invalid_settings_are_errors(changed, message):
    with pytest.raises(UsageError, match=message):
        psgd.fit(still, np.zeros(2), DATA, **{"batch_size_per_worker": 3} | changed)


@pytest.mark.parametrize(
    ("gradient", "parameters"), [(None, np.zeros(2)), (np.zeros(2), still)], ids=["none", "exchanged"]
)
def test_a_gradient_that_is_no_function(gradient, parameters):
    with pytest.raises(UsageError, match=r"^gradient is \w+; it must be a function of \(parameters, X, y\)$"):
        psgd.fit(gradient, parameters, DATA)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (np.zeros(2, int), "parameters is int64; parameters must be float32 or float64"),
        ([np.zeros(2), np.zeros(2, np.float32)], r"parameters\[0\] is float64 and parameters\[1\] is float32"),
        ([np.zeros(2), "b"], r"parameters\[1\] is str 'b'"),
        ([], "parameters hold no array"),
        ([DATA[1], DATA[1]], r"parameters\[1\] is the same array as parameters\[0\]"),
    ],
)
def test_invalid_parameters_are_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        psgd.fit(still, parameters, DATA)


@pytest.mark.parametrize("dataset", [DATA[0], (DATA[0], DATA[1][:3]), (DATA[0], None), (DATA[0][:0], DATA[1][:0])])
def test_invalid_data_are_errors(dataset):
    with pytest.raises(DataError, match="dataset"):
        psgd.fit(still, np.zeros(2), dataset)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ((csr_matrix(DATA[0]), DATA[1]), r"X of dataset is csr_matrix, .* give X\.toarray\(\), or .* psgd\.sklearn"),
        ((np.ma.masked_equal(DATA[0], DATA[0].flat[0]), DATA[1]), r"X of dataset has 1 masked .* X\.filled\(value\)"),
        ((DATA[0], np.ma.masked_equal(DATA[1], DATA[1].flat[0])), r"y of dataset has \d+ masked .* y\.filled\(value\)"),
    ],
)
def test_sparse_and_masked_data_are_errors(dataset, message):
    with pytest.raises(DataError, match=message):
        psgd.fit(still, np.zeros(2), dataset)


def test_a_masked_array_without_masked_values_is_an_array():
    assert type(as_user_arrays((np.ma.masked_array(DATA[0]), DATA[1]), "dataset", 0).X) is np.ndarray


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_numbers_in_the_data_that_are_not_finite_are_named_when_training_diverges(group):
    def slope(w, X, y):
        return X.T @ (X @ w - y) / len(X)

    X, y = np.ones((40, 2)), np.zeros(40)
    X[39, 1] = np.inf
    with pytest.raises(Diverged, match=r"Lower learning_rate.* look at X of dataset: 1 numbers of it are nan or inf"):
        psgd.fit(slope, np.zeros(2), (X, y), group=group, workers=2, check=False)  # which may see other rows
    with pytest.raises(Diverged) as caught:
        psgd.fit(slope, np.zeros(2), (np.ones((40, 2)), y + 1), learning_rate=1e200, group=group, workers=2)
    assert "But first" not in str(caught.value)


@pytest.mark.parametrize(("y", "turned"), [(np.zeros((1, 5)), r"give \(X.T, y.T\)"), (np.zeros(5), r"give \(X.T, y\)")])
def test_examples_in_columns_are_recognised(y, turned):
    with pytest.raises(DataError, match=rf"has 2 rows of X .* The 5 columns of X seem to be the examples: {turned}"):
        psgd.fit(still, np.zeros(2), (np.zeros((2, 5)), y))


def test_rows_that_are_missing_are_no_columns():
    with pytest.raises(DataError, match=r"each example needs one of both$"):
        psgd.fit(still, np.zeros(2), (np.zeros((5, 2)), np.zeros((4, 2))))


def test_a_table_of_python_objects_is_named_beside_the_exception_that_it_causes():
    table = np.array([[1.5, True], [2.0, False]], dtype=object)
    with pytest.raises(TypeError) as caught:
        psgd.fit(lambda w, X, y: X.T @ np.exp(X @ w) / 2, np.zeros(2), (table, np.zeros(2)), batch_size_per_worker=2)
    assert any("X of dataset holds Python objects" in note for note in caught.value.__notes__)
