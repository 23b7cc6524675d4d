"""The callback of psgd.fit hears of each line of metrics, and ends the training on every group."""

import json

import fit_run
import numpy as np
import pytest
import user_function as own
from fit_results import mpich, rows, same, unbroken
from processes import run
from run_files import read_summary

import psgd
from psgd.core.errors import UsageError

__all__ = ["mpich", "unbroken"]


def test_the_callback_hears_of_every_line_of_metrics(tmp_path, unbroken):
    heard = []
    fitted = fit_run.fit(tmp_path / "run", callback=heard.append)
    same(fitted, unbroken)
    assert len(heard) == len(fitted.history) > 12
    for progress, row in zip(heard, fitted.history, strict=True):
        assert (progress.round, progress.epoch, progress.examples, progress.seconds) == tuple(
            row[key] for key in ("round", "epoch", "examples", "seconds")
        )
        assert progress.loss == row.get("loss", progress.loss)
        assert row.get("test_accuracy") in (None, progress.scores.get("test_accuracy"))
    with pytest.raises(AttributeError):
        heard[0].round = 3
    with pytest.raises(UsageError, match="read them before callback returns"):
        _ = heard[-1].parameters


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_a_callback_that_returns_true_ends_training_with_the_parameters_it_saw(group, tmp_path, unbroken, capsys):
    """The same round and bits on every group; and the run can be resumed to the end of the unbroken one."""
    seen = []

    def callback(progress):
        if progress.round >= 7:
            seen.append(progress.parameters)
            return np.True_
        return None

    dataset = own.problem()[1]
    fitted = fit_run.fit(tmp_path / "run", callback=callback, group=group)
    assert (fitted.summary["status"], fitted.summary["rounds"]) == ("stopped-by-callback", 7)
    assert read_summary(tmp_path / "run")["status"] == "stopped-by-callback"
    for found in (seen[0], psgd.load(tmp_path / "run")):
        assert [a.tobytes() for a in found] == [a.tobytes() for a in fitted.parameters]
    assert fitted.summary["test_accuracy"] == own.score(fitted.parameters, *dataset)  # of the final parameters
    same_rounds = fit_run.fit(None, callback=lambda progress: progress.round == 7)
    assert same_rounds.summary["parameters_sha256"] == fitted.summary["parameters_sha256"]
    again = fit_run.fit(tmp_path / "run", resume=True, callback=callback)
    for key in ("status", "rounds", "parameters_sha256", "test_accuracy"):
        assert again.summary[key] == fitted.summary[key], key
    assert rows(again.history) == rows(fitted.history)
    said, epoch = capsys.readouterr().err, f"{fitted.summary['epochs']:.2f}"
    assert f"[0] already at epoch {epoch}, where callback ends it: nothing to train\n" in said
    assert "going on" not in said
    resumed = fit_run.fit(tmp_path / "run", resume=True)
    assert f"[0] going on from round 7, epoch {epoch}\n" in capsys.readouterr().err
    assert resumed.summary["parameters_sha256"] == unbroken.summary["parameters_sha256"]


@pytest.mark.parametrize("tested", [True, False])
def test_a_resumed_callback_knows_the_last_loss(tested, tmp_path):
    heard, more = [], {} if tested else {"test": None}

    def callback(progress):
        heard.append((progress.round, progress.loss, progress.scores))
        return progress.round == 7

    fit_run.fit(tmp_path / "run", callback=callback, **more)
    before = len(heard)
    fit_run.fit(tmp_path / "run", callback=callback, resume=True, **more)
    assert heard[before:] == [heard[before - 1]]
    assert heard[-1][1] is not None


def test_a_callback_on_one_process_of_mpi_ends_all(mpich, tmp_path):
    code = (
        "import json, sys, fit_run\n"
        "fitted = fit_run.fit(sys.argv[1], callback=lambda progress: progress.round == 7)\n"
        "print(json.dumps([fitted.summary['status'], fitted.summary['parameters_sha256']]) if fitted.first else '')\n"
    )
    ended = run(mpich.command(2, "-c", code, str(tmp_path / "run")))
    assert ended.code == 0, ended
    expected = fit_run.fit(None, callback=lambda progress: progress.round == 7).summary["parameters_sha256"]
    assert json.loads(ended.stdout.strip()) == ["stopped-by-callback", expected]


@pytest.mark.parametrize("group", ["serial", "threads"])
@pytest.mark.parametrize("last", [False, True])
def test_an_exception_in_the_callback_ends_the_job(group, last, tmp_path):
    def callback(progress):
        if progress.epoch >= (8 if last else 3):
            raise ZeroDivisionError("deliberately")

    with pytest.raises(ZeroDivisionError, match="deliberately") as caught:
        fit_run.fit(tmp_path / "run", callback=callback, group=group)
    (note,) = caught.value.__notes__
    assert note.startswith("psgd.fit: in callback, round ")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_another_answer_of_the_callback_is_an_error():
    with pytest.raises(UsageError, match="callback returned 'stop'; it must return True to end the training"):
        fit_run.fit(None, callback=lambda progress: "stop")
