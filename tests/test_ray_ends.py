"""How a job on Ray ends where something does not answer, is lost or was stopped. No Ray runs here."""

import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from fake_ray import fail, fake_ray
from processes import LIMIT

import psgd
from psgd.core.errors import ProcessLost, UsageError
from psgd.group.ray import connection, control_plane, deadline
from psgd.group.ray.actors import _print_news, _wait_for_start
from psgd.group.ray.connection import connected
from psgd.group.ray.control_plane import ControlPlane
from psgd.group.ray.deadline import Deadline
from psgd.group.ray.library import import_ray
from psgd.group.ray.transport import Ray
from psgd.jobs.launch import ray as ray_driver
from psgd.jobs.process import Result
from psgd.training.signals import Stopped, exit_code_of


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Deadlines of hundredths of a second, and why this process would have ended."""
    reasons: list[str] = []
    monkeypatch.setattr(deadline, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(control_plane, "ASK_SECONDS", 0.01)
    for module in (connection, control_plane):
        monkeypatch.setattr(module, "end_process", reasons.append)
    return reasons


def test_a_deadline_that_is_kept_does_nothing(left):
    acted, before = threading.Event(), threading.enumerate()  # a thread of another test may not have ended yet
    with Deadline(3.0, acted.set):
        (counting,) = [thread for thread in threading.enumerate() if thread not in before]
    counting.join(LIMIT)
    assert not acted.is_set()


def test_a_connection_that_never_comes_ends_this_process(monkeypatch, left):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.03)
    hangs = threading.Event()
    fake_ray(monkeypatch, init=lambda *_, **__: hangs.wait(LIMIT))
    monkeypatch.setattr(connection, "end_process", lambda reason: (left.append(reason), hangs.set()))
    with connected(1):
        assert hangs.is_set()
    assert left[0].startswith("Ray at auto (RAY_ADDRESS) has not answered for 0.03 s")


def test_a_shutdown_that_hangs_ends_this_process(monkeypatch, left):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(connection, "LONGEST_SILENCE", 0.03)
    hangs, ended = threading.Event(), []
    fake_ray(monkeypatch, shutdown=lambda: ended.append(hangs.wait(2.0)))
    monkeypatch.setattr(connection, "end_process", lambda reason: (left.append(reason), hangs.set()))
    with connected(1):
        pass
    assert ended == [True], "not waited for any longer"
    assert left[0].startswith("Ray at auto (RAY_ADDRESS) has not answered for 0.03 s")


@pytest.mark.parametrize("told", [True, False])
def test_silence_of_the_control_plane_is_told_to_the_actors_and_ends_this_process(monkeypatch, left, told):
    """Also if the actors cannot be told."""
    hangs, over, reasons = threading.Event(), threading.Event(), []
    fake_ray(
        monkeypatch, nodes=lambda: hangs.wait(LIMIT), get=(lambda end: end) if told else fail(RuntimeError("gone"))
    )
    monkeypatch.setattr(control_plane, "end_process", lambda reason: (left.append(reason), over.set()))
    coordinator = SimpleNamespace(end=SimpleNamespace(remote=lambda code, reason: reasons.append((code, reason))))
    with ControlPlane(coordinator, 0.05):
        assert over.wait(LIMIT)
    hangs.set()
    assert reasons == [(5, left[0])]
    assert "has not answered for 0.05 s" in left[0]


def test_a_control_plane_that_answers_is_left_alone(monkeypatch, left):
    asked = threading.Semaphore(0)
    fake_ray(monkeypatch, nodes=asked.release)
    with ControlPlane(None, 30.0):
        assert all(asked.acquire(timeout=LIMIT) for _ in range(3))
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_actors_obeyed_is_not_raised_again_in_the_program(monkeypatch, tmp_path, number):
    fake_ray(monkeypatch, is_initialized=lambda: True, cluster_resources=lambda: {"CPU": 1})
    raised: list[int] = []

    def stopped(*about: Any) -> list[Result]:
        signal.raise_signal(number)
        return [Result(exit_code_of(number), {}, tmp_path, Stopped(number, tmp_path))]

    monkeypatch.setattr(ray_driver, "run_actors", stopped)
    before = signal.signal(number, lambda number, _: raised.append(number))
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as left:
            psgd.train(group="ray", device="cpu", cluster__processes=1, output=tmp_path / "run", progress=False)
    finally:
        signal.signal(number, before)
    assert not raised
    if number == signal.SIGINT:
        assert str(left.value) == f"stopped by signal 2; continue with resume=True, output='{tmp_path}'"
    else:
        assert left.value.code == 75


def test_a_coordinator_that_does_not_answer_is_waited_for_once(monkeypatch):
    """An actor waits for its patience, and to leave only briefly; the driver says what to do."""
    waits: list[float] = []

    class GetTimeoutError(Exception):
        pass

    def get(reference: Any, timeout: float) -> None:
        waits.append(timeout)
        raise GetTimeoutError("Get timed out.\nMore.")

    fake_ray(monkeypatch, get=get, exceptions=SimpleNamespace(RayError=GetTimeoutError))
    asked = SimpleNamespace(remote=lambda *_: None)
    transport = Ray(0, 2, SimpleNamespace(all_gather=asked, end=asked), 300.0)
    for act in (lambda: transport.all_gather(b""), lambda: transport.abort(5)):
        with pytest.raises(SystemExit) as left:
            act()
        assert left.value.code == 5
    assert waits == [310.0, 10.0]
    said = "the coordinator was lost or hangs: Get timed out; continue with --resume"
    with pytest.raises(ProcessLost, match=f"^{said}$"):
        _print_news(import_ray(), None)


def test_a_loss_that_ended_the_job_says_what_to_do_and_hides_no_other_reason(tmp_path):
    lost = Result(ProcessLost.code, None, tmp_path, ProcessLost("another process was lost"))
    with pytest.raises(ProcessLost, match=r"^there is no result, since processes were lost; continue with --resume$"):
        ray_driver._result([lost], losses=True)
    refused = Result(UsageError.code, None, tmp_path, UsageError("no such data here"))
    assert ray_driver._result([refused], losses=True) == refused


def test_a_signal_before_the_actors_run_is_not_silent(capsys):
    ray = SimpleNamespace(
        wait=lambda futures, **_: ([], futures), get=list, exceptions=SimpleNamespace(RayError=OSError)
    )
    actor = SimpleNamespace(location=SimpleNamespace(remote=lambda: None))
    with pytest.raises(KeyboardInterrupt):
        _wait_for_start(ray, [actor], 300.0, lambda: signal.SIGTERM)
    assert capsys.readouterr().err == "psgd: stopped before training began\n"
