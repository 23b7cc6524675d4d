"""What psgd.fit advises: arguments that belong elsewhere, names of other libraries, and what would be faster."""

import ast
import inspect
import itertools
import re
import sys

import numpy as np
import pytest
from still_fit import DATA, still
from threadpoolctl import threadpool_limits

import psgd
from psgd.config.foreign_names import FOREIGN
from psgd.config.names import SECTIONS
from psgd.core import log
from psgd.jobs.fit.advice import advice, doubt
from psgd.jobs.fit.misplaced import misplaced
from psgd.jobs.fit.settings import _ARGUMENTS, check_settings, in_words_of_fit, section_of
from psgd.jobs.fit.task import build_task


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
        ("lower strategy.outer.learning_rate.", "lower strategy['outer']['learning_rate']."),
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


@pytest.mark.parametrize(
    ("seconds", "strategy", "group", "said"),
    [
        (20e-6, "parameter-averaging", "threads", "take 0.02 ms, too short to gain from threads; mpirun may be faster"),
        (1e-6, "gradient-averaging", "threads", "too short to gain from threads; group='serial' may be faster"),
        (1e-3, "gradient-averaging", "threads", None),
        (20e-6, "gradient-averaging", "mpi", "after every 0.02 ms of computing, which is too often"),
        (20e-6, "parameter-averaging", "mpi", None),
        (20e-6, "parameter-averaging", "ray", "after every 1 ms of computing, which is too often"),
        (1e-3, "parameter-averaging", "ray", None),
        (1e-6, "gradient-averaging", "serial", None),
    ],
)
def test_a_way_to_run_in_parallel_that_does_not_pay_is_doubted(seconds, strategy, group, said, monkeypatch):
    monkeypatch.setattr("psgd.jobs.fit.advice.call_seconds", lambda task: seconds)
    settings = check_settings({"strategy": {"name": strategy}, "data": {"source": "psgd.fit"}})
    task = build_task(settings.replace(group=group), still, np.zeros(2), DATA, None, None, None, False)
    sentence = doubt(task)
    assert sentence is None if said is None else said in sentence


def test_a_doubt_is_told_once(capsys, monkeypatch):
    monkeypatch.setattr(log, "_said", set())
    for seconds in (1e-6, 2e-6):
        monkeypatch.setattr("psgd.jobs.fit.advice.call_seconds", lambda task, measured=seconds: measured)
        psgd.fit(still, np.zeros(2), DATA, workers=2, batch_size_per_worker=2, group="threads")
    assert capsys.readouterr().err.count("too short to gain from threads") == 1


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
