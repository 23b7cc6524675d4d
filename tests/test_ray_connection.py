"""A Ray that is missing, too old, out of reach or does not start: one line and its exit code. No Ray runs here."""

import os
import signal
import socket
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from processes import LIMIT

import psgd
from psgd.core.errors import ProcessLost, UsageError
from psgd.group.ray import connection, control_plane, deadline
from psgd.group.ray.actors import _print_news, _wait_for_start
from psgd.group.ray.connection import connected
from psgd.group.ray.control_plane import ControlPlane
from psgd.group.ray.deadline import Deadline
from psgd.group.ray.library import LOCAL, address, import_ray
from psgd.group.ray.transport import Ray
from psgd.jobs.launch import ray as ray_driver
from psgd.jobs.launch.command import main
from psgd.jobs.process import Result
from psgd.training.signals import Stopped, exit_code_of


def fake_ray(
    monkeypatch: pytest.MonkeyPatch, version: str = "2.60.0", ip: str = "127.0.0.1", **methods: Any
) -> list[str]:
    """Put a module in Ray's place -> the calls of init and shutdown, as they come."""
    calls: list[str] = []
    ray = SimpleNamespace(
        __version__=version,
        is_initialized=lambda: False,
        init=lambda where, **_: calls.append(f"init {where}"),
        shutdown=lambda: calls.append("shutdown"),
        util=SimpleNamespace(get_node_ip_address=lambda: ip),
    )
    vars(ray).update(methods)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return calls


def fail(error: BaseException) -> Any:
    def raise_it(*_: Any, **__: Any) -> None:
        raise error

    return raise_it


def test_the_first_import_for_a_local_ray_asks_for_loopback_and_a_token(monkeypatch):
    monkeypatch.setattr(os, "environ", {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "known"})
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "path", [])  # so that importing it fails
    with pytest.raises(UsageError, match="pip install ray"):
        import_ray()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_the_variables_of_a_running_cluster_are_left_alone(monkeypatch):
    before = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_TOKEN": "known"}
    monkeypatch.setattr(os, "environ", dict(before))
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UsageError):
        import_ray()
    assert os.environ == before


def test_without_ray_the_message_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["group=ray", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.rstrip().endswith("psgd: group ray needs ray: pip install ray")


def test_an_address_where_nothing_listens_is_an_error_at_once(monkeypatch, tmp_path, capsys):
    calls = fake_ray(monkeypatch)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        assert main(["group=ray", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("psgd: cannot connect to Ray at 127.0.0.1:")
    assert not (tmp_path / "run").exists()
    assert calls == []


@pytest.mark.parametrize("version", ["2.9.3", "2.51.2"])
def test_a_local_ray_that_demands_no_token_is_refused(monkeypatch, version):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    calls = fake_ray(monkeypatch, version)
    with pytest.raises(UsageError, match=rf"ray {version} cannot protect .* pip install 'ray>=2\.52'"), connected(1):
        pass
    assert calls == []


@pytest.mark.parametrize("version", ["2.52.0", "3.0.0.dev0"])
def test_a_local_ray_that_demands_a_token_is_started_and_stopped(monkeypatch, version):
    monkeypatch.setenv("RAY_ADDRESS", "")
    calls = fake_ray(monkeypatch, version)
    with connected(1):
        assert calls == [f"init {LOCAL}"]
    assert calls == [f"init {LOCAL}", "shutdown"]


def test_what_ray_prints_does_not_reach_standard_output(monkeypatch, capsys):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    fake_ray(monkeypatch)
    with connected(1):
        print("(raylet) A worker died")
    print("the summary")
    assert capsys.readouterr() == ("the summary\n", "(raylet) A worker died\n")


def test_a_local_ray_that_others_could_reach_is_stopped_and_refused(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    calls = fake_ray(monkeypatch, ip="192.0.2.7")
    with pytest.raises(UsageError, match=r"would listen at 192\.0\.2\.7, .* call ray\.init before psgd"), connected(1):
        pass
    assert calls == [f"init {LOCAL}", "shutdown"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Exception("The node timed out\nduring startup."), "cannot start Ray here: The node timed out during startup."),
        (OSError(28, "No space left on device"), "cannot start Ray here: [Errno 28] No space left on device"),
        (ConnectionError(), "cannot start Ray here: ConnectionError"),
    ],
)
def test_a_local_ray_that_does_not_start_is_one_line(monkeypatch, tmp_path, capsys, error, said):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    fake_ray(monkeypatch, init=fail(error))
    assert main(["group=ray", "--output", str(tmp_path / "run")]) == ProcessLost.code
    room = "is there room in RAY_TMPDIR, or else /tmp, and in memory?"
    assert capsys.readouterr().err == f"psgd: {said}; {room}\n"
    assert not (tmp_path / "run").exists()


def test_a_cluster_that_refuses_this_driver_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    fake_ray(monkeypatch, init=fail(Exception("Version mismatch:\n  Ray: 2.59.0")))
    assert main(["group=ray", "--output", str(tmp_path / "run")]) == UsageError.code
    err = capsys.readouterr().err
    assert err.startswith("psgd: cannot connect to Ray at auto (RAY_ADDRESS): Version mismatch: Ray: 2.59.0; are its")
    assert err.count("\n") == 1


def test_rays_client_is_refused_in_one_line(monkeypatch, tmp_path, capsys):
    """A job would begin there, and end with a KeyError."""
    monkeypatch.setenv("RAY_ADDRESS", "ray://cluster:10001")
    calls = fake_ray(monkeypatch)
    assert main(["group=ray", "--output", str(tmp_path / "run")]) == UsageError.code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("psgd: group ray cannot use Ray's client (ray://); call psgd on a machine of the cluster")
    assert calls == []


def test_an_address_set_but_empty_is_none(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert address() == LOCAL


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Deadlines of hundredths of a second, and why this process would have ended."""
    reasons: list[str] = []
    monkeypatch.setattr(deadline, "LOOK_SECONDS", 0.01)
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
    """By an actor for its patience, and then only briefly; the driver says what to do."""
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


def test_what_ray_prints_goes_to_stderr_until_it_is_shut_down(monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    fake_ray(monkeypatch, shutdown=lambda: print("a second worker died"))
    with connected(1):
        print("a worker died")
    print("{}")
    assert capsys.readouterr() == ("{}\n", "a worker died\na second worker died\n")


def test_a_signal_before_the_actors_run_is_not_silent(capsys):
    ray = SimpleNamespace(
        wait=lambda futures, **_: ([], futures), get=list, exceptions=SimpleNamespace(RayError=OSError)
    )
    actor = SimpleNamespace(location=SimpleNamespace(remote=lambda: None))
    with pytest.raises(KeyboardInterrupt):
        _wait_for_start(ray, [actor], 300.0, lambda: signal.SIGTERM)
    assert capsys.readouterr().err == "psgd: stopped before training began\n"
