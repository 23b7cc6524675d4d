"""What psgd.fit says of arguments and of a function that are wrong, in the words of its arguments."""

import ast
import inspect
import itertools
import re
import sys

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

import psgd
from psgd.config.foreign_names import FOREIGN
from psgd.config.names import SECTIONS
from psgd.core import log
from psgd.core.errors import DataError, Diverged, UsageError
from psgd.data.user_arrays import as_user_arrays
from psgd.jobs.fit.advice import advice
from psgd.jobs.fit.misplaced import misplaced
from psgd.jobs.fit.settings import _ARGUMENTS, check_settings, in_words_of_fit, section_of
from psgd.jobs.fit.task import build_task

DATA = np.arange(12.0).reshape(6, 2), np.zeros(6)


def still(parameters, X, y):
    return np.zeros(2)


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
            r"gradient returned \(gradient, loss\), but the gradient is a list of 1; it must be like",
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
        ({"workers": 2.5}, "workers is 2.5; it must be a whole number"),
        ({"workers": "auto"}, "workers is auto"),
        ({"workers": 0}, "workers is 0; it must be a whole number greater than 0$"),
        ({"strategy": {"name": "weighted-averaging", "contraction": 5}}, "at most 1, or holdout, or auto$"),
        ({"strategy": "zinkevich"}, r"did you mean parameter-averaging\?"),
        ({"batch_size_per_worker": 7}, "^batch_size_per_worker is 7, but there are 6 training examples"),
        ({"strategy": {"contraction": "auto"}}, r"set strategy\['contraction'\] to holdout"),
        ({"group": "ray"}, "group is ray"),
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


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ({"momentum": 0.9}, "it is a setting of sgd: optimizer={'name': 'sgd', 'momentum': 0.9}"),
        ({"momentum": 0.9, "optimizer": "adam"}, "of sgd: optimizer={'name': 'sgd', 'momentum': 0.9}"),
        ({"beta1": 0.8, "optimizer": "amsgrad"}, "of amsgrad: optimizer={'name': 'amsgrad', 'beta1': 0.8}"),
        ({"nesterov": True, "optimizer": {"momentum": 0.9}}, "{'momentum': 0.9, 'name': 'sgd', 'nesterov': True}"),
        ({"momentun": 0.9}, "it is a setting of sgd: optimizer={'name': 'sgd', 'momentum': 0.9}"),
        ({"contraction": 0.9, "strategy": "gradient-averaging"},
         "strategy={'name': 'weighted-averaging', 'contraction': 0.9}"),
        ({"lr": 0.1}, "did you mean learning_rate?"),
        ({"batch_size": 5}, "did you mean batch_size_per_worker?"),
        ({"n_jobs": 2}, "did you mean workers?"),
        ({"save_dir": "x"}, "did you mean output?"),
        ({"weight_decay": 0.1}, "which of your parameters are weights; add it to your gradient"),
        ({"dtype": "float32"}, "it is the dtype of the parameters"),
        ({"patience": 3}, "training ends where callback returns True"),
        ({"X": DATA[0]}, "the data are one argument, dataset=(X, y)"),
        ({"hidden": [3]}, "help(psgd.fit) lists those that there are"),
    ],
)  # fmt: skip
def test_an_argument_that_belongs_elsewhere(named, hint):
    with pytest.raises(TypeError) as caught:
        psgd.fit(still, np.zeros(2), DATA, **named)
    assert str(caught.value).startswith("fit() got an unexpected keyword argument")
    assert str(caught.value).endswith(hint)


def test_data_that_are_given_as_two_arguments():
    with pytest.raises(TypeError, match=r"positional argument.*; the data are one argument, dataset=\(X, y\)$"):
        psgd.fit(still, np.zeros(2), *DATA)


@pytest.mark.parametrize("choice", [(s, c) for s in ("optimizer", "strategy") for c in SECTIONS[s].choices])
def test_the_advice_about_a_setting_can_be_followed(choice):
    section, name = choice
    arguments = list(inspect.signature(psgd.fit).parameters)
    for key, field in SECTIONS[section].choices[name].model_fields.items():
        if key in ("l1", "l2", *arguments, SECTIONS[section].tag):
            continue
        told = misplaced(arguments, (), {section: name, key: field.default})
        assert told.startswith(f"; it is a setting of {name}: {section}=")
        mapping = ast.literal_eval(told.partition("=")[2])
        assert mapping == {"name": name, key: field.default}
        check_settings({"data": {"source": "psgd.fit"}, section: mapping})


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_leads_to_an_argument_that_exists(name):
    arguments = list(inspect.signature(psgd.fit).parameters)
    told = misplaced(arguments, (), {name.rpartition(".")[2]: 1})
    for argument in re.findall(r"did you mean (.*)\?|(\w+)=", told):
        assert "".join(argument) in arguments


def test_every_argument_in_a_message_exists():
    arguments = inspect.signature(psgd.fit).parameters
    for setting, argument in _ARGUMENTS.items():
        section, _, key = setting.partition(".")
        assert key in SECTIONS[section].all_keys()
        assert argument in arguments or setting == "model.hidden"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("lower optimizer.learning_rate", "lower learning_rate"),
        ("set optimizer.clip_norm; training.on_nonfinite: exclude goes on", "set optimizer['clip_norm']; "
         "on_nonfinite='exclude' goes on"),
        ("cluster.speeds names 2", "speeds names 2"),
        ("must be greater than 0, or null", "must be greater than 0, or None"),
    ],
)  # fmt: skip
def test_messages_of_other_parts_are_translated(said, meant):
    assert in_words_of_fit(said) == meant


def test_workers_that_take_turns_are_told_so_once(capsys, monkeypatch):
    """Also where gradient takes so long that another sentence is true each time that it is measured."""
    monkeypatch.setattr(log, "_said", set())
    seconds = itertools.cycle([1e-3, 1e-9])
    monkeypatch.setattr(sys.modules["psgd.jobs.fit.fit"], "call_seconds", lambda task: next(seconds))
    for group in ("auto", "auto", "serial"):
        psgd.fit(still, np.zeros(2), DATA, workers=3, batch_size_per_worker=2, group=group)
    psgd.fit(still, np.zeros(2), DATA, workers=1, batch_size_per_worker=2)
    said = capsys.readouterr().err
    assert said.count("take turns") == 1
    assert "3 workers take turns in this one process" in said


def test_threads_of_blas_are_told_once(capsys, monkeypatch):
    monkeypatch.setattr(log, "_said", set())
    with threadpool_limits(2, "blas"):
        for _ in range(2):
            psgd.fit(still, np.zeros(2), DATA, batch_size_per_worker=2)
    assert capsys.readouterr().err.count("has 2 threads and is limited to 1 during psgd.fit") == 1


@pytest.mark.parametrize(
    ("seconds", "strategy", "threads", "processes"),
    [
        (1e-3, "gradient-averaging", True, True),
        (0.3e-3, "gradient-averaging", False, True),
        (20e-6, "gradient-averaging", False, False),
        (20e-6, "parameter-averaging", False, True),  # every 50 steps
        (1e-6, {"name": "parameter-averaging", "period": "end"}, False, True),
    ],
)
def test_only_what_would_be_faster_is_advised(seconds, strategy, threads, processes, monkeypatch):
    monkeypatch.setattr("psgd.jobs.fit.advice.cores", lambda: 2)
    settings = check_settings(
        {
            "strategy": section_of("strategy", strategy, "weighted-averaging", "period", None),
            "data": {"source": "psgd.fit"},
        }
    )
    task = build_task(settings, still, np.zeros(2), DATA, None, None, None, False)
    said = advice(task, seconds)
    assert ("use group='threads'" in said) is threads
    assert ("mpirun -n 2 python script.py" in said) is processes


def test_a_function_that_is_not_checked_is_not_called_to_be_timed():
    calls = []

    def counted(w, X, y):
        calls.append(len(X))
        return np.zeros(2)

    counts = []
    for group in ("auto", "serial"):
        calls.clear()
        psgd.fit(counted, np.zeros(2), DATA, workers=2, batch_size_per_worker=2, group=group, check=False)
        counts.append(len(calls))
    assert counts[0] == counts[1]


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


def test_rounds_that_are_longer_than_the_training_are_told(capsys):
    def said(**arguments):
        psgd.fit(still, np.zeros(2), DATA, batch_size_per_worker=2, **arguments)
        return capsys.readouterr().err

    examples = len(DATA[0])
    long = said(workers=2, period=examples)
    assert f"a round deals {4 * examples} examples, more than the {examples} of epochs; lower period, batch_s" in long
    assert "training." not in long
    assert "uses more" not in long
    wide = said(workers=examples, strategy="gradient-averaging", epochs=100)
    assert f"a step of all workers uses {2 * examples} examples, more than the {examples} of an epoch" in wide
    assert "warning" not in said(workers=2, period=1)
