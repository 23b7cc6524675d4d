"""A call of psgd.fit with a run directory is resumed, on other processes too, with the bits of an unbroken one."""

import itertools
import json
import os
import signal
import threading
from pathlib import Path

import fit_run
import numpy as np
import pytest
import user_function as own
from processes import Mpi, mpi, mpis, python, run

import psgd
from psgd import predict
from psgd.config.resolve import resolve
from psgd.core.errors import DataError, Diverged, StorageError, UsageError
from psgd.data.sources.load import load_data
from psgd.training.checkpoint_files import CheckpointFiles

__all__ = ["mpi"]
SCRIPT = "tests/fit_run.py"


@pytest.fixture
def mpich() -> Mpi:
    mpich = mpis()[0]
    if not (mpich.bin / "mpirun").exists():
        pytest.skip("no MPICH here: scripts/test makes an environment for each MPI")
    return mpich


@pytest.fixture(scope="module")
def unbroken() -> psgd.Fitted:
    return fit_run.fit(None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, unbroken) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    fit_run.fit(directory)
    return directory


def same(fitted: psgd.Fitted, unbroken: psgd.Fitted) -> None:
    for key in ("parameters_sha256", "worker_steps", "last_weights", "test_accuracy", "rounds", "examples"):
        assert fitted.summary[key] == unbroken.summary[key], key
    assert rows(fitted.history) == rows(unbroken.history)


def rows(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in history]


def lines(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_run_directory_has_the_files_of_a_run(finished, unbroken):
    assert sorted(path.name for path in finished.iterdir()) == [
        *("checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "model.safetensors", "summary.json")
    ]
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["parameters_sha256"]) == ("done", unbroken.summary["parameters_sha256"])
    assert rows(lines(finished)) == rows(unbroken.history)
    for found, expected in zip(psgd.load(finished), unbroken.parameters, strict=True):
        assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())


def test_its_config_says_that_a_script_trained_and_the_commands_refuse_it(finished, capsys):
    config = (finished / "config.yaml").read_text()
    assert config.startswith("# The settings of a call of psgd.fit.")
    assert "source: psgd.fit" in config
    assert "model: {}" in config
    assert "precision: float64" in config
    settings = resolve(str(finished / "config.yaml"), []).settings
    with pytest.raises(UsageError, match=r"data.source is psgd.fit: .* run that script, with resume=True"):
        load_data(settings)
    assert predict.main([str(finished), "data.csv"]) == 3
    assert "the parameters of your own function, trained by psgd.fit, with which psgd cannot" in capsys.readouterr().err


def test_metrics_of_a_function_without_a_loss_have_none(tmp_path):
    def gradient(parameters, X, y):
        return own.gradient(parameters, X, y)[0]

    parameters, dataset = own.problem()
    heard = []
    fitted = psgd.fit(gradient, parameters, dataset, output=tmp_path / "run", period=1, epochs=3, callback=heard.append)
    assert {row["loss"] for row in lines(tmp_path / "run") if "bytes" in row} == {None}
    assert len(heard) == len(fitted.history) > 1
    assert {progress.loss for progress in heard} == {None}
    assert not any("loss" in row for row in fitted.history)


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_a_finished_run_returns_at_once_with_the_same_result(finished, unbroken, capsys):
    assert fit_run.fit(finished, resume=True).summary == fit_run.fit(finished, resume=True).summary
    same(fit_run.fit(finished, resume=True, group="threads", processes=3), unbroken)
    said = capsys.readouterr().err.splitlines()
    ended = f"[0] already at epoch {unbroken.summary['epochs']:.2f}, and epochs is 8: nothing to train"
    assert [said.count(ended), sum("going on" in line for line in said)] == [3, 0]


@pytest.mark.parametrize("exists", [False, True])
def test_without_a_run_resuming_starts_and_says_so(tmp_path, unbroken, exists, capsys):
    if exists:
        (tmp_path / "run").mkdir()
    same(fit_run.fit(tmp_path / "run", resume=True), unbroken)
    assert "there is no checkpoint here yet: starting from the beginning" in capsys.readouterr().err


def test_a_process_killed_under_mpi_is_resumed_by_another_number_and_group(mpi, tmp_path, unbroken):
    """SIGKILL while a checkpoint is written."""
    directory = tmp_path / "run"
    killed = run(mpi.command(2, SCRIPT, str(directory), "kill-5"))
    assert killed.code != 0, killed
    assert "finally" not in killed.stdout
    assert len(CheckpointFiles(directory).tags()) == 2
    assert not (directory / "summary.json").exists()
    same(fit_run.fit(directory, resume=True, group="threads", processes=3), unbroken)


def test_threads_killed_are_resumed_under_mpi(mpich, tmp_path, unbroken):
    directory = tmp_path / "run"
    killed = python(SCRIPT, str(directory), "kill-4", "threads")
    assert killed.code == -signal.SIGKILL, killed
    resumed = run(mpich.command(2, SCRIPT, str(directory), "end"))
    assert resumed.code == 0, resumed
    assert "going on from round" in resumed.stderr
    summary = json.loads(resumed.stdout.splitlines()[0])
    assert summary["parameters_sha256"] == unbroken.summary["parameters_sha256"]
    assert rows(lines(directory)) == rows(unbroken.history)


CHANGES = {
    "learning_rate": (0.01, "learning_rate: 0.05 there, 0.01 here. To go on with these from here on, add accept_cha"),
    "workers": (4, "workers: 3 there, 4 here"),
    "batch_size_per_worker": (5, "batch_size_per_worker: 4 there, 5 here"),
    "mode": ("replacement", "mode: 'shuffle' there, 'replacement' here.* Start a new run"),
    "strategy": ("gradient-averaging", "strategy: 'weighted-averaging' there, 'gradient-averaging' here"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_arguments_are_refused_by_name(finished, name):
    value, message = CHANGES[name]
    more = {"speeds": None} if name == "workers" else {}
    with pytest.raises(UsageError, match=message):
        fit_run.fit(finished, resume=True, **{name: value}, **more)
    fit_run.fit(finished, resume=True)  # it is not locked


def test_other_data_and_initial_parameters_are_refused_by_name(finished):
    parameters, (X, y) = own.problem()
    settings = {"resume": True, "output": finished, "workers": 3, "speeds": [1, 0.5, 1], "batch_size_per_worker": 4,
                "strategy": {"name": "weighted-averaging", "period": 6}, "optimizer": {"name": "adam"},
                "learning_rate": 0.05, "score": own.score, "check": False}  # fmt: skip
    other = X.copy()
    other[7, 1] += 1e-12
    with pytest.raises(UsageError, match=r"the training data: they are not the same.*, add accept_changes=True"):
        psgd.fit(own.gradient, parameters, (other, y), test=(X, y), **settings)
    with pytest.raises(UsageError, match=r"the test data: they are not the same"):
        psgd.fit(own.gradient, parameters, (X, y), test=(other, y), **settings)
    for changed in ([parameters[0] + 1e-12, *parameters[1:]], [parameters[0].T, *parameters[1:]]):
        with pytest.raises(UsageError, match=r"the initial parameters: they are not the same\. Start a new run"):
            psgd.fit(own.gradient, changed, (X, y), test=(X, y), accept_changes=True, **settings)


def test_a_longer_training_goes_on(tmp_path, unbroken):
    fit_run.fit(tmp_path / "run", epochs=4)
    same(fit_run.fit(tmp_path / "run", resume=True, group="threads", processes=3), unbroken)


def test_one_thread_writes_the_metrics(tmp_path, unbroken):
    fit_run.fit(tmp_path / "run", group="threads", processes=3)
    assert rows(lines(tmp_path / "run")) == rows(unbroken.history)


def test_consent_to_another_learning_rate(tmp_path, unbroken):
    fit_run.fit(tmp_path / "run", epochs=4)
    fitted = fit_run.fit(tmp_path / "run", resume=True, learning_rate=0.01, accept_changes=True)
    assert fitted.summary["parameters_sha256"] != unbroken.summary["parameters_sha256"]
    (kept,) = (tmp_path / "run").glob("config.until-round-*.yaml")
    assert "learning_rate: 0.05" in kept.read_text()


# --- the directory ----------------------------------------------------------------------------------------------------


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
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "diverged"
    assert CheckpointFiles(tmp_path / "run").tags()
    with pytest.raises(DataError, match="no such file; a run writes its model"):
        psgd.load(tmp_path / "run")


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["serial", "threads"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT"])
def test_a_signal_saves_a_checkpoint_and_is_raised(name, group, tmp_path, unbroken, capsys):
    directory, number, calls = tmp_path / "run", getattr(signal, name), itertools.count(1)

    def signalled(parameters, X, y):
        if next(calls) == 40:
            os.kill(os.getpid(), number)
        return own.gradient(parameters, X, y)

    with pytest.raises(KeyboardInterrupt if name == "SIGINT" else SystemExit) as caught:
        fit_run.fit(directory, gradient=signalled, group=group, epochs=10**6)  # threads see it a little later
    assert name == "SIGINT" or caught.value.code == 75
    assert f"psgd: stopped by signal {number.value}; a checkpoint is in {directory}" in capsys.readouterr().err
    assert json.loads((directory / "summary.json").read_text())["status"] == "stopped"
    (tag,) = CheckpointFiles(directory).tags()
    resumed = fit_run.fit(directory, resume=True)
    if tag.round < resumed.summary["rounds"] == unbroken.summary["rounds"]:
        assert resumed.summary["parameters_sha256"] == unbroken.summary["parameters_sha256"]
    else:
        assert group == "threads"


def test_a_script_that_a_signal_stops_can_clean_up(tmp_path, unbroken):
    directory = tmp_path / "run"
    stopped = python(SCRIPT, str(directory), "SIGTERM-4", "threads")
    assert (stopped.code, stopped.stdout) == (75, "finally\n"), stopped
    assert "Traceback" not in stopped.stderr
    same(fit_run.fit(directory, resume=True), unbroken)


def test_a_signal_to_one_process_stops_all_under_mpi(mpich, tmp_path, unbroken):
    directory = tmp_path / "run"
    stopped = run(mpich.command(2, SCRIPT, str(directory), "SIGTERM-4"))
    assert (stopped.code, stopped.stdout) == (75, "finally\n"), stopped
    assert "Traceback" not in stopped.stderr
    same(fit_run.fit(directory, resume=True), unbroken)


def test_a_second_interrupt_leaves_at_once_and_handlers_are_restored(tmp_path):
    def gradient(parameters, X, y):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return np.zeros(2)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    data = np.zeros((6, 2)), np.zeros(6)
    with pytest.raises(KeyboardInterrupt):
        psgd.fit(gradient, np.zeros(2), data, batch_size_per_worker=2, check=False, output=tmp_path / "run")
    assert [signal.getsignal(number) for number in numbers] == before
    assert not CheckpointFiles(tmp_path / "run").tags()


def test_a_signal_that_comes_too_late_is_passed_on(tmp_path, unbroken):
    def callback(progress):
        if progress.round == unbroken.summary["rounds"]:
            os.kill(os.getpid(), signal.SIGUSR1)

    before, heard = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number)), []
    try:
        same(fit_run.fit(tmp_path / "run", callback=callback), unbroken)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_a_call_from_another_thread_leaves_the_handlers_alone(tmp_path, unbroken):
    found: list[psgd.Fitted] = []
    caller = threading.Thread(target=lambda: found.append(fit_run.fit(tmp_path / "run")))
    caller.start()
    caller.join(30)
    same(found[0], unbroken)


def test_a_signal_is_obeyed_before_a_callback(tmp_path, unbroken):
    def callback(progress):
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    with pytest.raises(SystemExit) as caught:
        fit_run.fit(tmp_path / "run", callback=callback)
    assert caught.value.code == 75
    same(fit_run.fit(tmp_path / "run", resume=True), unbroken)


# --- the callback -----------------------------------------------------------------------------------------------------


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
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "stopped-by-callback"
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


# --- mode -------------------------------------------------------------------------------------------------------------


def test_the_modes_give_workers_their_rows():
    """In a shard each, or drawn with replacement; each row's number is its only feature."""
    X, counts = np.arange(40.0)[:, np.newaxis], {}
    for mode in ("shuffle", "partition", "replacement"):
        seen: list[list[float]] = [[]]

        def gradient(parameters, X, y, seen=seen):
            seen[-1] += X[:, 0].tolist()
            return np.zeros(1)

        psgd.fit(
            gradient, np.zeros(1), (X, X), mode=mode, workers=2, epochs=3, batch_size_per_worker=5, check=False,
            strategy="parameter-averaging", period=4, callback=lambda progress, seen=seen: seen.append([]),
        )  # fmt: skip
        rounds = [part for part in seen if part]
        shards = [{*part[:20]} for part in rounds if len(part) == 40]
        counts[mode] = np.unique(np.concatenate(rounds), return_counts=True)[1].tolist()
        assert (mode == "partition") == (all(shard == shards[0] for shard in shards) and len(shards[0]) == 20), mode
    assert counts["shuffle"] == counts["partition"] == [3] * 40
    assert counts["replacement"] != [3] * 40
