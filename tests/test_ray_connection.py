"""A Ray that is missing, too old, out of reach or does not start: one line and its exit code. No Ray runs here."""

import os
import signal
import socket
import sys

import pytest
from fake_ray import fail, fake_ray

from psgd.core.errors import ProcessLost, UsageError
from psgd.group.ray.connection import connected
from psgd.group.ray.library import LOCAL, address, import_ray
from psgd.jobs.launch.command import main


def test_the_first_import_for_a_local_ray_asks_for_loopback_and_a_token(monkeypatch):
    monkeypatch.setattr(os, "environ", {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "known"})
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "path", [])  # so that importing it fails
    with pytest.raises(UsageError, match=r"pip install 'psgd\[ray\]'"):
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
    assert capsys.readouterr().err.rstrip().endswith(": pip install 'psgd[ray]'")


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
    with pytest.raises(UsageError, match=rf"ray {version} cannot protect .* pip install 'psgd\[ray\]'"), connected(1):
        pass
    assert calls == []


@pytest.mark.parametrize("version", ["2.52.0", "3.0.0.dev0"])
def test_a_local_ray_that_demands_a_token_is_started_and_stopped(monkeypatch, version):
    monkeypatch.setenv("RAY_ADDRESS", "")
    calls = fake_ray(monkeypatch, version)
    with connected(1):
        assert calls == [f"init {LOCAL}"]
    assert calls == [f"init {LOCAL}", "shutdown"]


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
    assert "RAY_AUTH_MODE=token" in err  # without it, Ray sends no token to an address that is named
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


def test_what_ray_prints_goes_to_stderr_until_it_is_shut_down(monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    fake_ray(monkeypatch, shutdown=lambda: print("a second worker died"))
    with connected(1):
        print("a worker died")
    print("{}")
    assert capsys.readouterr() == ("{}\n", "a worker died\na second worker died\n")


@pytest.mark.parametrize("own", [signal.SIG_DFL, lambda number, frame: None])
def test_a_program_keeps_its_handler_of_sigterm(monkeypatch, own):
    """Ray puts its own in place of it. Where there is none, Ray's may end what it started here, while it is there."""
    monkeypatch.setenv("RAY_ADDRESS", "")
    rays = lambda number, frame: None  # noqa: E731
    fake_ray(monkeypatch, init=lambda *_, **__: signal.signal(signal.SIGTERM, rays))
    before = signal.signal(signal.SIGTERM, own)
    try:
        with connected(1):
            assert signal.getsignal(signal.SIGTERM) is (own if callable(own) else rays)
        assert signal.getsignal(signal.SIGTERM) is own
        with connected(1):  # as the command's
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
