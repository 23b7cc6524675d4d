"""`psgd.train` and `psgd.Run`: what the command does, from Python: the same files and bits, errors raised."""

import asyncio
import json
import os
import pickle
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from command import run
from processes import LIMIT, python
from run_files import read_metrics, read_summary
from threadpoolctl import threadpool_info, threadpool_limits

import psgd
from psgd.core.errors import DataError, Diverged, PsgdError, StorageError, UsageError
from psgd.group.failure import portable
from psgd.training.signals import Signals, Stopped
from psgd.training.steps.local_steps import LocalSteps

__all__ = ["run"]  # a fixture

SHORT = {"training": {"epochs": 2}}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def train(output: Path, **more) -> psgd.Run:
    return psgd.train(**{**SHORT, "output": output, "progress": False, **more})


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def test_importing_the_module_of_the_command_does_not_hide_the_function():
    code = "import psgd; before = psgd.train; import psgd.train; raise SystemExit(psgd.train is not before)"
    assert python("-c", code).code == 0


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_it_has_the_files_and_the_hash_of_the_command(run, tmp_path, group, capfd):
    before = handlers()
    ours = train(tmp_path / "run", group=group)
    assert ours.directory == tmp_path / "run"
    assert {path.name for path in ours.directory.iterdir()} == {path.name for path in run.iterdir()}
    assert ours.summary == read_summary(ours.directory)
    assert (ours.summary["group"], ours.parameters_sha256) == (group, psgd.Run(run).parameters_sha256)
    assert handlers() == before
    assert capfd.readouterr() == ("", "")


def test_settings_may_be_given_in_any_form(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = psgd.Run(run).parameters_sha256
    file, given = run / "config.yaml", psgd.Run(run).config
    given["training"] |= {"epochs": np.float32(2), "seed": np.int64(0)}
    for config, more in [
        (file, {}),
        (str(file), {"training": {"epochs": 9}, "training__epochs": 2}),
        (given, {"output": Path("mine")}),
        (None, {"training.epochs": 2, "model": {"hidden": (64,)}}),
    ]:
        assert psgd.train(config, progress=False, **more).parameters_sha256 == wanted
    assert sorted(path.name for path in Path("runs").iterdir()) == ["run-001", "run-002", "run-003"]
    assert Path("mine/summary.json").exists()


def test_an_override_may_choose_a_strategy_that_lacks_settings_of_the_file(tmp_path, capfd):
    given = {"strategy": {"name": "parameter-averaging", "period": 3}, "output": str(tmp_path / "run"), **SHORT}
    psgd.train(given, strategy__name="gradient-averaging")
    said = "strategy.period: 3 of config was left out: gradient-averaging, which the call chose, has no such setting"
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"training__epoch": 3}, "call: training.epoch is not a setting of training; did you mean epochs?"),
        ({"config": {"workers": "5"}}, 'config: workers is "5"; it must be a whole number greater than 0, or auto'),
        ({"optimizer": "sgd"}, 'call: optimizer is "sgd"; it must be a mapping of settings; did you mean optimizer__n'),
        ({"epochs": 3}, "call: epochs is not a setting; did you mean training__epochs?"),
        ({"quiet": True}, "call: quiet is not a setting; leave it out; progress=False prints less"),
        ({"a__": 3}, "call: 'a__' is no name of a setting, such as training.epochs or training__epochs"),
        ({"training": {1: 2}}, "the key 1 is no name of a section or a setting"),
        ({"config": 7}, "config is int; it must be a path, a mapping of settings, or None"),
        ({"config": "none.yaml"}, "none.yaml: there is neither such a file nor a config of psgd of this name"),
        ({"group": "mpi"}, "mpirun -n 4 psgd train CONFIG"),
        ({"output": ""}, "output is ''; it must be the path of a directory, or None"),
        ({"output": 5}, "output is 5; it must be the path of a directory, or None"),
        ({"output": b"run"}, "output is b'run'; it must be"),
        ({"output": "a\0b"}, "output is 'a\\x00b'; it must be"),
        ({"output": "none", "resume": True}, "there is no run to resume in none"),
        ({"resume": True, "overwrite": True}, "resume=True continues a run and overwrite=True replaces it: choose one"),
        ({"overwrite": True}, "overwrite=True replaces the run in the directory of output=DIR: name it"),
        ({"accept_changes": True}, "accept_changes=True is for resume=True"),
    ],
)
def test_wrong_arguments_are_usage_errors_that_leave_nothing(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        psgd.train(**arguments)
    assert words in str(error.value)
    assert not list(tmp_path.iterdir())


def test_under_a_launcher_the_command_is_named(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="mpirun -n 4 psgd train CONFIG"):
        psgd.train()


def test_errors_are_raised_and_the_directory_is_unlocked(tmp_path):
    with pytest.raises(DataError, match=r"data\.source idx"):
        train(tmp_path / "run", data={"source": "idx", "path": str(tmp_path / "none")})
    assert not (tmp_path / "run").exists()
    with pytest.raises(Diverged, match="worker 0, round 0"):
        train(tmp_path / "run", optimizer={"name": "sgd", "learning_rate": 1e30})
    with pytest.raises(UsageError, match="continue it with resume=True, replace it with overwrite=True"):
        train(tmp_path / "run")
    assert psgd.Run(tmp_path / "run").summary["status"] == "diverged"
    with pytest.raises(UsageError, match="train anew in another directory, or with overwrite=True instead of"):
        train(tmp_path / "run", resume=True)
    done = train(tmp_path / "run", overwrite=True)
    assert train(tmp_path / "run", resume=True).parameters_sha256 == done.parameters_sha256


def test_the_exception_of_a_thread_is_raised_as_it_is(tmp_path, monkeypatch):
    run = LocalSteps.run

    def fails(self, replica, plan):
        if threading.current_thread().name == "process 1" and replica.progress.round == 1:
            raise ZeroDivisionError("deliberately")
        return run(self, replica, plan)

    monkeypatch.setattr(LocalSteps, "run", fails)
    with pytest.raises(ZeroDivisionError, match="deliberately"):
        train(tmp_path / "run", group="threads", cluster={"processes": 2})


@pytest.mark.parametrize("group", ["serial", "threads"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint_from_which_training_goes_on(run, tmp_path, monkeypatch, group, number):
    before, local_steps, note, noted = handlers(), LocalSteps.run, Signals._note, threading.Event()

    def signalled(self, replica, plan):
        if replica.progress.round == 1 and 0 in self.workers and not noted.is_set():  # one thread alone has worker 0
            os.kill(os.getpid(), number)
            assert noted.wait(LIMIT)  # the main thread runs the handler
        return local_steps(self, replica, plan)

    def noting(self, *arguments):
        note(self, *arguments)
        noted.set()

    monkeypatch.setattr(Signals, "_note", noting)
    monkeypatch.setattr(LocalSteps, "run", signalled)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as left:
        train(tmp_path / "run", group=group)
    if number == signal.SIGINT:
        assert f"continue with resume=True, output='{tmp_path}/run'" in str(left.value)
    else:
        assert left.value.code == 75
    assert handlers() == before
    stopped = psgd.Run(tmp_path / "run")
    assert stopped.summary["status"] == "stopped"
    again = train(tmp_path / "run", resume=True, group="serial")
    assert again.parameters_sha256 == psgd.Run(run).parameters_sha256 != stopped.parameters_sha256


def test_a_second_ctrl_c_leaves_at_once(tmp_path, monkeypatch):
    before = handlers()

    def twice(self, replica, plan):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    monkeypatch.setattr(LocalSteps, "run", twice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run")
    assert handlers() == before


def test_it_runs_in_another_thread_and_within_a_loop_of_asyncio(run, tmp_path):
    found: list[psgd.Run] = []

    async def within() -> None:
        found.append(train(tmp_path / "loop"))
        found.append(await asyncio.to_thread(train, tmp_path / "thread", group="threads"))

    before = handlers()
    asyncio.run(within())
    assert {each.parameters_sha256 for each in found} == {psgd.Run(run).parameters_sha256}
    assert handlers() == before


def test_blas_has_one_thread_during_the_call_and_its_own_afterwards(run, tmp_path, capfd):
    import scipy.linalg.blas  # noqa: F401, since its BLAS, too, has to be there to be given two threads

    with threadpool_limits(2, user_api="blas"):
        ours = train(tmp_path / "run", optimizer={"name": "sgd"}, progress=True)
        assert {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"} == {2}
    about = json.loads((ours.directory / "environment.json").read_text())
    assert about["processes"][0]["blas"]["threads"] == 1
    assert capfd.readouterr().err.count("limited to 1 during psgd.train") == 1


def test_metrics_are_a_data_frame_or_else_rows(run, monkeypatch):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    frame = psgd.Run(run).metrics
    assert isinstance(frame, pandas.DataFrame)
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = psgd.Run(run).metrics
    assert rows == read_metrics(run)
    assert list(frame["round"]) == [row["round"] for row in rows]
    assert frame["test_accuracy"].dropna().iloc[-1] == psgd.Run(run).summary["test_accuracy"]


def test_a_run_shows_what_it_is(run):
    shown = psgd.Run(run)
    lines, about = repr(shown).splitlines(), shown.summary
    assert len(lines) < 15
    assert max(map(len, lines)) < 120
    for text in (
        "done",
        "weighted-averaging",
        f"{about['test_accuracy']:.4f}",
        about["parameters_sha256"][:16],
        str(run),
    ):
        assert text in repr(shown)
        assert text in shown._repr_html_()
    assert shown.model.predict(np.zeros((1, 64))).shape == (1,)


def test_a_run_that_has_not_ended_says_so_and_html_is_escaped(tmp_path):
    directory = tmp_path / "<b>"
    directory.mkdir()
    with pytest.raises(DataError, match=r"is not the directory of a run: it has no config\.yaml"):
        psgd.Run(directory)
    with pytest.raises(DataError, match="there is no such directory"):
        psgd.Run(tmp_path / "none")
    (directory / "config.yaml").write_text("{}")
    begun = psgd.Run(directory)
    assert "the run has not ended" in repr(begun)
    assert "&lt;b&gt;" in begun._repr_html_()
    for attribute in ("summary", "metrics", "model"):
        with pytest.raises(DataError, match=r"<b>"):
            getattr(begun, attribute)
    (directory / "summary.json").write_text("[")
    assert "cannot be read" in repr(begun)


def test_errors_travel_between_processes():
    for error in (Diverged("too far"), StorageError("full"), Stopped(2, Path("/run")), Stopped(15, None)):
        there = pickle.loads(pickle.dumps(portable(error, 1)))
        assert (type(there), str(there), there.code) == (type(error), str(error), error.code)


class NeedsTwo(Exception):
    """An exception that pickle cannot make again, since it keeps the message alone."""

    def __init__(self, one: str, another: str) -> None:
        super().__init__(one)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ZeroDivisionError("deliberately"), ZeroDivisionError, "deliberately"),
        (NeedsTwo("deliberately", "so"), PsgdError, "process 3: NeedsTwo: deliberately"),
    ],
)
def test_other_exceptions_travel_with_their_traceback(error, kind, message):
    try:
        raise error
    except Exception as raised:
        there = pickle.loads(pickle.dumps(portable(raised, 3)))
    assert (type(there), str(there)) == (kind, message)
    assert there.__notes__[0].startswith("process 3: Traceback")
