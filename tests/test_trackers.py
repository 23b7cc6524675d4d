"""Trackers: what TensorBoard and MLflow read back is what the metrics say, and their failure changes nothing."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from command import run
from processes import Mpi, mpi, python
from processes import run as run_command
from run_files import read_metrics

import psgd
from psgd.core.errors import UsageError
from psgd.jobs.files import open_directory, run_files
from psgd.jobs.trackers.threads import TrackerThreads
from psgd.jobs.trackers.tracker import Scalars, scalars
from psgd.training.steps.local_steps import LocalSteps

__all__ = ["mpi", "run"]  # fixtures

pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: pip install 'psgd[tensorboard]'")
reader = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="tensorboard is not installed: pip install tensorboard",
)

TENSORBOARD = {"record": ["tensorboard"], "progress": False, "training": {"epochs": 2}}


def events(directory: Path) -> Any:
    """All that TensorBoard finds in the directory of a run."""
    found = reader.EventAccumulator(str(directory / "tensorboard"), {"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def curve(directory: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(directory).Scalars(name)]


def in_metrics(directory: Path, name: str) -> list[tuple[int, float]]:
    rows = read_metrics(directory)
    return [(row["examples"], pytest.approx(row[name], rel=1e-6)) for row in rows if row.get(name) is not None]


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_tensorboard_has_the_metrics_and_the_run_its_bits(run, tmp_path, group):
    ours = psgd.train(output=tmp_path / "run", group=group, **TENSORBOARD)
    assert ours.parameters_sha256 == psgd.Run(run).parameters_sha256
    for name in ("loss", "epoch", "test_loss", "test_accuracy", "wait_seconds"):
        assert curve(ours.directory, name) == in_metrics(ours.directory, name)
    assert len(list((ours.directory / "tensorboard").iterdir())) == 1
    found = events(ours.directory)
    (config,) = found.Tensors("config/text_summary")
    assert config.tensor_proto.string_val[0].decode() == f"```yaml\n{(ours.directory / 'config.yaml').read_text()}\n```"
    (summary,) = found.Tensors("summary/text_summary")
    assert ours.parameters_sha256 in summary.tensor_proto.string_val[0].decode()


class Broken(Exception):
    """What ends a run without a checkpoint."""


def test_a_resumed_run_goes_on_in_tensorboard_without_steps_twice(tmp_path, monkeypatch):
    more = {**TENSORBOARD, "strategy": {"period": 3}, "training": {"epochs": 2, "evaluate_every": 0.2}}
    unbroken = psgd.train(output=tmp_path / "unbroken", **more)
    local_steps, ends = LocalSteps.run, {3: lambda: os.kill(os.getpid(), signal.SIGINT), 9: broken}

    def ending(self, replica, plan):
        ends.pop(replica.progress.round, lambda: None)()
        return local_steps(self, replica, plan)

    monkeypatch.setattr(LocalSteps, "run", ending)
    with pytest.raises(KeyboardInterrupt):
        psgd.train(output=tmp_path / "run", **more)
    with pytest.raises(Broken):
        psgd.train(output=tmp_path / "run", resume=True, progress=False)
    assert max(step for step, _ in curve(tmp_path / "run", "test_loss")) > 4 * 120, "nothing to take back"
    ours = psgd.train(output=tmp_path / "run", resume=True, progress=False)
    assert ours.parameters_sha256 == unbroken.parameters_sha256
    assert len(list((ours.directory / "tensorboard").iterdir())) == 3
    for name in ("loss", "test_loss"):
        assert curve(ours.directory, name) == curve(unbroken.directory, name) == in_metrics(ours.directory, name)
    psgd.train(output=tmp_path / "run", resume=True, progress=False)  # from the end: nothing is added to the curves
    assert curve(ours.directory, "loss") == curve(unbroken.directory, "loss")


def broken() -> None:
    raise Broken


def test_overwriting_a_run_removes_its_events_and_nothing_else(tmp_path):
    ours = psgd.train(output=tmp_path / "run", **TENSORBOARD)
    (ours.directory / "tensorboard" / "events.out.tfevents.1.mine").write_text("mine")
    psgd.train(output=tmp_path / "run", overwrite=True, progress=False, training={"epochs": 1})
    assert [path.name for path in (ours.directory / "tensorboard").iterdir()] == ["events.out.tfevents.1.mine"]


def test_only_the_first_process_of_mpi_records(run, mpi: Mpi, tmp_path):
    finished = run_command(
        mpi.command(
            2, "-m", "psgd.train", "record=[tensorboard]", "training.epochs=2", "--output", str(tmp_path / "run")
        )
    )
    if "pip install 'psgd[tensorboard]'" in finished.stderr:
        pytest.skip(f"tensorboardX is not installed beside {mpi.name}")
    assert finished.code == 0, finished
    assert json.loads(finished.stdout)["parameters_sha256"] == psgd.Run(run).parameters_sha256
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    assert curve(tmp_path / "run", "loss") == in_metrics(tmp_path / "run", "loss")


def test_a_tracker_that_cannot_write_is_one_warning(run, tmp_path, monkeypatch, capfd):
    write_config = run_files.write_text

    def then_bar(path: Path, text: str) -> None:
        write_config(path, text)
        (path.parent / "tensorboard").write_text("in the way")

    monkeypatch.setattr(open_directory, "write_text", then_bar)
    ours = psgd.train(output=tmp_path / "run", **TENSORBOARD)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "[0] warning: record: tensorboard is incomplete, and the run is not: FileExistsError: " in said
    assert ours.parameters_sha256 == psgd.Run(run).parameters_sha256


def test_a_missing_package_is_refused_before_anything_is_done(tmp_path, monkeypatch):
    for name, package in (("tensorboard", "tensorboardX"), ("mlflow", "mlflow")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            UsageError, match=rf"record: {name} needs the package {package}: pip install 'psgd\[{name}\]'"
        ):
            psgd.train(output=tmp_path / "run", record=[name])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["tensorbord"], "a list of different ones of tensorboard, mlflow"),
        (["mlflow", "mlflow"], "a list of different"),
        ("tensorboard", "a list of"),
    ],
)
def test_wrong_trackers_are_refused(given, words):
    with pytest.raises(UsageError, match=f"call: record is .*; it must be {words}"):
        psgd.train(record=given)


class Fails:
    """A tracker that fails at one of its methods, or when it is opened."""

    def __init__(self, where: str, error: Callable[[], object]) -> None:
        self._where, self._error = where, error
        self.told: list[str] = []
        self._at("open")

    def begin(self, step: int) -> None:
        self._at("begin")

    def write(self, rows: Sequence[Scalars]) -> None:
        self._at("write")

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        self._at("finish")

    def _at(self, where: str) -> None:
        self.told.append(where)
        if where == self._where:
            self._error()


def full() -> None:
    raise OSError(28, "No space left on device")


def leaves() -> None:
    raise SystemExit(3)


def tell(openers: dict[str, Callable[[], Fails]], last_seconds: float = 30.0) -> None:
    trackers = TrackerThreads(openers, "0", last_seconds)
    trackers.truncate(0)
    for step in range(1000):
        trackers.row(lambda step=step: {"examples": step, "loss": 0.5})
    trackers.close({"status": "done"})


@pytest.mark.parametrize("error", [full, leaves])
@pytest.mark.parametrize("where", ["open", "begin", "write", "finish"])
def test_a_failing_tracker_is_told_of_once_and_does_not_disturb_others(capfd, where, error):
    opened: list[Fails] = []

    def open_good() -> Fails:
        opened.append(Fails("never", full))
        return opened[-1]

    tell({"bad": lambda: Fails(where, error), "good": open_good})
    said = capfd.readouterr().err
    assert said.count("\n") == said.count("[0] warning: record: bad is incomplete, and the run is not: ") == 1
    assert opened[0].told[0] == "open"
    assert opened[0].told[-1] == "finish"
    assert "write" in opened[0].told


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("record")]


def test_a_slow_tracker_is_left_behind(capfd):
    held = threading.Event()
    tell({"slow": lambda: Fails("write", held.wait)}, 0.05)
    assert "it has not written everything 0.05 s after the end of the run" in capfd.readouterr().err
    held.set()
    for thread in threads():
        thread.join()


def test_a_process_that_is_not_the_first_opens_nothing():
    TrackerThreads({"bad": lambda: pytest.fail("opened")}, "1", 30.0).close({"status": "done"})
    assert not threads()


def test_scalars_are_the_finite_numbers_of_a_line():
    row = {"round": 3, "examples": 40, "loss": float("nan"), "test_loss": 0.5, "weights": [0.25, 0.75], "none": None}
    assert scalars(row) == (40, {"round": 3.0, "test_loss": 0.5, "weights/worker_0": 0.25, "weights/worker_1": 0.75})


MLFLOW = """
import json, os, signal, sys
import psgd
from psgd.training.steps.local_steps import LocalSteps

place = sys.argv[1]
given = {"record": ["mlflow"], "strategy": {"period": 3}, "training": {"epochs": 2}, "progress": False}
local_steps, ends = LocalSteps.run, {3: lambda: os.kill(os.getpid(), signal.SIGINT), 9: lambda: 1 / 0}

def ending(self, replica, plan):
    ends.pop(replica.progress.round, lambda: None)()
    return local_steps(self, replica, plan)

LocalSteps.run = ending
try:
    psgd.train(output=place, **given)
except KeyboardInterrupt:
    pass
try:
    psgd.train(output=place, resume=True, progress=False)
except ZeroDivisionError:
    pass
resumed = psgd.train(output=place, resume=True, progress=False)
from mlflow import MlflowClient
client = MlflowClient()
about = json.load(open(os.path.join(place, "mlflow.json")))
run = client.get_run(about["run_id"])
history = [(each.step, each.value) for each in client.get_metric_history(about["run_id"], "loss")]
os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"  # nobody listens there
unheard = psgd.train(output=place + "-unheard", **given)
print(json.dumps([
    dict(run.data.params), dict(run.data.tags), run.info.status, sorted(history), len(run.data.metrics),
    resumed.parameters_sha256, unheard.parameters_sha256,
    [each.info.run_id for each in client.search_runs([run.info.experiment_id])],
]))
"""


def test_mlflow_has_the_run_once_though_it_was_resumed_and_a_missing_server_is_a_warning(tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'psgd[mlflow]'")
    variables = {"MLFLOW_TRACKING_URI": f"file:{tmp_path}/store", "MLFLOW_ALLOW_FILE_STORE": "true"}
    finished = python("-c", MLFLOW, str(tmp_path / "run"), **variables, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert finished.code == 0, finished
    parameters, tags, status, history, metrics, resumed, unheard, runs = json.loads(finished.stdout)
    assert resumed == unheard
    assert len(runs) == 1
    assert (parameters["strategy.period"], parameters["workers"]) == ("3", "4")
    assert (tags["status"], tags["parameters_sha256"], status) == ("done", resumed, "FINISHED")
    assert metrics > 10
    assert [tuple(each) for each in history] == in_metrics(tmp_path / "run", "loss")
    warnings = [line for line in finished.stderr.splitlines() if "warning: record: mlflow is incomplete" in line]
    assert len(warnings) == 1
