"""Which directories, arguments and parameters psgd.fit refuses for a run, and what it keeps in a directory."""

import os

import fit_run
import numpy as np
import pytest
from fit_results import same, unbroken
from run_files import read_summary

import psgd
from psgd.core.errors import DataError, Diverged, StorageError, UsageError
from psgd.jobs.files import locks
from psgd.training.checkpoint_files import CheckpointFiles

__all__ = ["unbroken"]


def test_the_directory_must_be_new_or_empty_and_foreign_files_stay(tmp_path, unbroken):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "thesis.tex").write_text("years of work")
    for more in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(
            UsageError, match=r"config.yaml|is not empty; continue it with resume=True, replace it with"
        ):
            fit_run.fit(directory, **more)
        assert [path.name for path in directory.iterdir()] == ["thesis.tex"]
    run_directory = tmp_path / "new"
    fit_run.fit(run_directory, epochs=2)
    for name in ("notes.txt", "checkpoints/best", "model.safetensors.bak"):
        (run_directory / name).write_text(name)
    fit_run.fit(run_directory, resume=True)
    with pytest.raises(UsageError, match="is not empty"):
        fit_run.fit(run_directory)
    same(fit_run.fit(run_directory, overwrite=True), unbroken)
    for name in ("notes.txt", "checkpoints/best", "model.safetensors.bak"):
        assert (run_directory / name).read_text() == name


def test_two_calls_do_not_write_one_directory_at_the_same_time(tmp_path):
    seen = []

    def callback(progress):
        if not seen:
            seen.append(progress)
            with pytest.raises(
                UsageError, match=r"another psgd is at work in .*; wait for it or choose another output"
            ):
                fit_run.fit(tmp_path / "run", resume=True)
            with pytest.raises(UsageError, match="another psgd is at work"):  # the refused call did not unlock it
                fit_run.fit(tmp_path / "run", overwrite=True)

    fit_run.fit(tmp_path / "run", callback=callback, group="threads")
    assert seen


def test_a_process_that_the_callback_forks_does_not_keep_the_directory_locked(tmp_path):
    copies = []

    def callback(progress):
        if not copies:
            copies.append(os.dup(locks._locks[os.path.realpath(tmp_path / "run")]))  # as the process has it

    fit_run.fit(tmp_path / "run", callback=callback, epochs=2)
    fit_run.fit(tmp_path / "run", resume=True)
    os.close(copies[0])


def test_a_process_that_the_callback_forks_does_not_unlock_the_directory(tmp_path):
    """It ends as the run would: by way of all blocks of `finally`."""
    locked = []

    def callback(progress):
        if not locked:
            child = os.fork()
            if not child:
                locks.unlock(tmp_path / "run")
                os._exit(0)
            os.waitpid(child, 0)
            locked.append(locks.is_locked(tmp_path / "run"))

    fit_run.fit(tmp_path / "run", callback=callback, epochs=2)
    assert locked == [True]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resume": True}, "resume=True goes on with the run in output=DIR: name it"),
        ({"overwrite": True}, "overwrite=True replaces the run in the directory of output=DIR: name it"),
        ({"accept_changes": True}, "accept_changes=True is for resume=True"),
        ({"output": "run", "resume": True, "overwrite": True}, "resume=True continues .* overwrite=True replaces it"),
        ({"output": 3}, "output is 3; it must be the path of a directory"),
        ({"output": ""}, "output is ''"),
        ({"output": b"run"}, "output is b'run'"),
        ({"output": "run", "checkpoint_seconds": -1}, "checkpoint_seconds is -1; it must be at least 0"),
        ({"mode": "shufle"}, r'mode is "shufle"; .*did you mean shuffle\?|mode is "shufle"; it must be one of'),
        ({"callback": 3}, "callback is int; it must be a function"),
    ],
)
def test_invalid_arguments_are_errors_and_leave_no_directory(changed, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        fit_run.fit(**{"output": None} | changed)
    assert not list(tmp_path.iterdir())


def test_what_checkpoints_and_model_files_cannot_keep_is_refused_before_training(tmp_path):
    def never(parameters, X, y):
        raise AssertionError

    data = np.zeros((6, 2)), np.zeros(6)
    for key in (1.5, True, None, (1, 2), "\ud800"):
        with pytest.raises(UsageError, match=r"parameters\['b'\] has the key .*; a model file can keep text and whole"):
            psgd.fit(never, {"b": {key: np.zeros(2)}}, data, output=tmp_path / "run", batch_size_per_worker=2)
    with pytest.raises(UsageError, match="y holds Python objects"):
        psgd.fit(never, np.zeros(2), (data[0], np.array([None] * 6)), output=tmp_path / "run", batch_size_per_worker=2)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot use"):
        fit_run.fit(tmp_path / "file" / "run")


def test_a_run_that_diverges_keeps_its_last_checkpoint_and_says_so(tmp_path):
    def gradient(parameters, X, y):
        calls.append(len(X))
        return np.full(2, np.nan if len(calls) > 30 else 1.0)

    calls: list[int] = []
    data = np.zeros((6, 2)), np.zeros(6)
    with pytest.raises(Diverged):
        psgd.fit(gradient, np.zeros(2), data, epochs=50, batch_size_per_worker=2, period=2, workers=1, check=False,
                 output=tmp_path / "run", checkpoint_seconds=0)  # fmt: skip
    assert read_summary(tmp_path / "run")["status"] == "diverged"
    assert CheckpointFiles(tmp_path / "run").tags()
    with pytest.raises(DataError, match="no such file; a run writes its model"):
        psgd.load(tmp_path / "run")
