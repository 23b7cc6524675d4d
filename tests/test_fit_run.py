"""A call of psgd.fit with a run directory is resumed, on other processes too, with the bits of an unbroken one."""

import json
import signal

import fit_run
import pytest
import user_function as own
from fit_results import finished, mpich, rows, same, unbroken
from processes import mpi, python, run
from run_files import read_metrics, read_summary

import psgd
from psgd import predict
from psgd.config.resolve import resolve
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.training.checkpoint_files import CheckpointFiles

__all__ = ["finished", "mpi", "mpich", "unbroken"]
SCRIPT = "tests/fit_run.py"


def test_the_run_directory_has_the_files_of_a_run(finished, unbroken):
    assert sorted(path.name for path in finished.iterdir()) == [
        *("checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "model.safetensors", "summary.json")
    ]
    summary = read_summary(finished)
    assert (summary["status"], summary["parameters_sha256"]) == ("done", unbroken.summary["parameters_sha256"])
    assert rows(read_metrics(finished)) == rows(unbroken.history)
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
    assert {row["loss"] for row in read_metrics(tmp_path / "run") if "bytes" in row} == {None}
    assert len(heard) == len(fitted.history) > 1
    assert {progress.loss for progress in heard} == {None}
    assert not any("loss" in row for row in fitted.history)


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
    assert rows(read_metrics(directory)) == rows(unbroken.history)


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
    assert rows(read_metrics(tmp_path / "run")) == rows(unbroken.history)


def test_consent_to_another_learning_rate(tmp_path, unbroken):
    fit_run.fit(tmp_path / "run", epochs=4)
    fitted = fit_run.fit(tmp_path / "run", resume=True, learning_rate=0.01, accept_changes=True)
    assert fitted.summary["parameters_sha256"] != unbroken.summary["parameters_sha256"]
    (kept,) = (tmp_path / "run").glob("config.until-round-*.yaml")
    assert "learning_rate: 0.05" in kept.read_text()
