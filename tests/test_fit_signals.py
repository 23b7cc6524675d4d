"""A signal to a script in psgd.fit saves a checkpoint, and is then passed on to the script."""

import itertools
import os
import signal
import threading

import fit_run
import numpy as np
import pytest
import user_function as own
from fit_results import mpich, same, unbroken
from processes import LIMIT, python, run
from run_files import read_summary

import psgd
from psgd.training.checkpoint_files import CheckpointFiles

__all__ = ["mpich", "unbroken"]
SCRIPT = "tests/fit_run.py"


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
    assert read_summary(directory)["status"] == "stopped"
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
    caller.join(LIMIT)
    same(found[0], unbroken)


def test_a_signal_is_obeyed_before_a_callback(tmp_path, unbroken):
    def callback(progress):
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    with pytest.raises(SystemExit) as caught:
        fit_run.fit(tmp_path / "run", callback=callback)
    assert caught.value.code == 75
    same(fit_run.fit(tmp_path / "run", resume=True), unbroken)
