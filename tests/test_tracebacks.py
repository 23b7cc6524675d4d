"""What users see above the errors of psgd.train and psgd.fit: their call and their functions, or else all frames."""

import inspect
import re
import traceback
from pathlib import Path

import numpy as np
import pytest

import psgd
from psgd.core.errors import Diverged, PsgdError, UsageError
from psgd.jobs.process import Result

X, Y = np.arange(24.0).reshape(8, 3), np.ones(8)


def gradient(parameters, X, y):
    error = X @ parameters - y
    return X.T @ error / len(X), float(0.5 * np.mean(error**2))


def of_sums(parameters, X, y):
    return gradient(parameters, X, y)[0] * len(X), gradient(parameters, X, y)[1]


def broken(parameters, X, y):
    return gradient(parameters, X, y)[7]


def fit(function=gradient, **more):
    return psgd.fit(function, np.zeros(3), (X, Y), workers=2, batch_size_per_worker=2, **more)


def names(error: BaseException) -> list[str]:
    """The functions of the frames, the outermost first; those of this file, and of psgd as psgd.FUNCTION."""
    frames = traceback.extract_tb(error.__traceback__)
    return [
        frame.name if frame.filename == __file__ else f"{Path(frame.filename).stem}.{frame.name}" for frame in frames
    ]


@pytest.mark.parametrize(
    ("act", "wrong"),
    [
        (lambda: psgd.train("digits", training__epoch=3), UsageError),
        (lambda: psgd.train("digitz"), UsageError),
        (lambda: fit(strategy="averaging"), UsageError),
        (lambda: fit(of_sums), UsageError),
        (lambda: fit(lambda parameters, X, y: np.zeros(2)), UsageError),
        (lambda: fit(learning_rate=1e30, epochs=9, check=False), Diverged),
        (lambda: fit(learning_rate=1e30, epochs=9, check=False, group="threads"), Diverged),
    ],
)
def test_an_error_for_the_user_shows_the_call_alone(act, wrong):
    with pytest.raises(wrong) as caught:
        act()
    *own, last = names(caught.value)
    assert "<lambda>" in own
    assert not [name for name in own if "." in name]
    assert last == "errors.call"
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1  # and no other exception above
    assert "psgd's own frames are left out" in shown


@pytest.mark.parametrize("more", [{}, {"check": False}, {"check": False, "group": "threads"}])
def test_an_exception_in_a_function_of_the_users_shows_the_call_and_its_frames(more):
    with pytest.raises(IndexError, match="out of range") as caught:
        fit(broken, **more)
    shown = names(caught.value)
    assert shown[-3:] == ["fit", "errors.call", "broken"]
    assert [name for name in shown if "." in name] == ["errors.call"]
    assert caught.value.__notes__[0].startswith("psgd.fit: in ")


def test_an_exception_in_a_library_that_psgd_calls_is_whole(monkeypatch):
    monkeypatch.setattr("psgd.jobs.fit.fit.check_gradient", np.linalg.inv)
    with pytest.raises(ValueError, match="array") as caught:
        fit()
    assert "fit.fit" in names(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lerning_rate": 0.1}, "unexpected keyword argument lerning_rate did you mean learning_rate"),
        ({"xyz": 1}, "unexpected keyword argument xyz helppsgdfit lists those that there are"),
    ],
)
def test_a_misspelt_argument(given, words):
    """Suggested by psgd, or by Python, whose words are the same."""
    with pytest.raises(TypeError) as caught:
        fit(**given)
    assert re.sub("['.;?()]", "", str(caught.value)).lower().endswith(words)
    assert names(caught.value)[-1] == "errors.call"


def test_an_error_of_psgd_that_comes_through_a_function_of_the_users_is_whole():
    def asks(progress):
        psgd.load("nowhere")

    with pytest.raises(psgd.errors.DataError, match="nowhere") as caught:
        fit(callback=asks)
    assert names(caught.value)[-2:] == ["asks", "model_file.load"]


def test_an_unexpected_error_of_psgd_is_whole(monkeypatch):
    """One that is raised in psgd, without a function of the user's, but with exit code 1."""
    monkeypatch.setattr("psgd.jobs.train_function.run_without_mpi", lambda *arguments: Result(9, None, Path()))
    with pytest.raises(PsgdError, match="ended it with exit code 9") as caught:
        psgd.train()
    assert names(caught.value)[-2:] == ["train_function.train", "train_function._check"]


@pytest.mark.parametrize("function", [psgd.fit, psgd.train])
def test_help_and_signatures_are_those_of_the_functions(function):
    assert {"output", "resume", "overwrite"} <= set(inspect.signature(function).parameters)
    assert "raise" in (inspect.getdoc(function) or "")
