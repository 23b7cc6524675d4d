"""Open MPI with fault tolerance: processes are killed, and the others end with the bits of an undisturbed run."""

import json
import os
import signal
import socket
import tempfile
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace

import pytest
from fit_results import metrics, unbroken
from processes import Finished, Mpi, Running, installed_mpi, python, run
from run_files import read_summary
from test_mpi import LONG

from psgd.core.errors import ProcessLost
from psgd.group.mpi.fault_tolerant import FaultTolerantMpi

__all__ = ["unbroken"]  # a fixture

DATA = (*LONG, "workers=5", "cluster.patience=60")
ROUNDS = (*DATA, "training.epochs=12")
WEIGHTED = (*ROUNDS, "cluster.speeds=[1, 1, 0.5, 0.5, 0.25]")
CLIPPED = (*DATA, "training.epochs=2", "strategy.name=gradient-averaging", "optimizer.clip_norm=1")
KEPT = (*ROUNDS, "strategy.name=parameter-averaging", "strategy.optimizer_state=keep", "optimizer.name=adam")
ONE_SHOT = (*ROUNDS, "strategy.name=parameter-averaging", "strategy.period=end")


@pytest.fixture
def openmpi() -> Mpi:
    return installed_mpi("openmpi")


@cache
def undisturbed(overrides: tuple[str, ...]) -> tuple[dict, list[dict]]:
    """The summary of a run in one process, and what it wrote about rounds and evaluations."""
    with tempfile.TemporaryDirectory() as directory:
        finished = python("-m", "psgd.train", *overrides, "group=serial", "--quiet", "--output", directory)
        return json.loads(finished.stdout), metrics(Path(directory))


@pytest.mark.parametrize(
    ("overrides", "host", "deaths", "left"),
    [
        # The first process, which writes the files; then one that has just left a barrier, alone or not.
        (CLIPPED, 4, "all_gather:60:0 barrier+:70:2", 2),
        # One whose loss only its host notices, while the other host waits for this one; then all of the other host.
        (CLIPPED, 2, "barrier:4:1 exchange_between_hosts:7:2 all_gather:60:3", 1),
        # Another one dies while the survivors recover; the states of lost workers are those of the last checkpoint.
        ((*KEPT, "training.checkpoint_seconds=0"), 4, "all_gather:40:3 shrink:1:1", 2),
        # All that is left of three is the last one, without a checkpoint to go back to.
        (WEIGHTED, 4, "all_gather:12:0 all_gather:15:1", 1),
        # The summary is written, but not all know that training has ended.
        (ONE_SHOT, 2, "confirm_end:1:0", 2),
    ],
    ids=["first and another", "a host", "in a recovery", "all but one", "at the end"],
)
def test_survivors_end_with_the_bits_of_an_undisturbed_run(openmpi, tmp_path, overrides, host, deaths, left):
    count, directory = left + len(deaths.split()), tmp_path / "run"
    command = openmpi.fault_tolerant(count, "tests/dying.py", deaths, str(host), *overrides, "--output", str(directory))
    check_survivors(run(command), directory, overrides, left)


def check_survivors(finished: Finished, directory: Path, overrides: tuple[str, ...], left: int) -> None:
    """Check that `left` processes ended a run with all that an undisturbed one writes."""
    expected, lines = undisturbed(overrides)
    assert finished.code == 0, finished
    found = json.loads(finished.stdout)
    names = ("parameters_sha256", "worker_steps", "test_loss", "rounds", "examples")
    assert [found[name] for name in names] == [expected[name] for name in names]
    assert found["processes"] == left
    assert f"lost; {left} process{'es go' if left > 1 else ' goes'} on" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert metrics(directory) == lines, "also those that a lost process had not written yet"
    assert read_summary(directory)["status"] == "done"


# What Open MPI calls in place of ssh: on this machine, under the other name.
OTHER_HOST = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec unshare --uts sh -c "hostname $host; $*"
"""


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory) -> list[str]:
    """The beginning of a command of Open MPI on two hosts of two processes: between hosts it takes other ways."""
    agent = tmp_path_factory.mktemp("agent") / "other_host"
    agent.write_text(OTHER_HOST)
    agent.chmod(0o755)
    launcher, *_, python = installed_mpi("openmpi").fault_tolerant(4)
    placed = ("--host", f"{socket.gethostname()}:2,other:2", "--map-by", "ppr:2:node:oversubscribe")
    command = [launcher, "--with-ft", "ulfm", "--prtemca", "plm_ssh_agent", str(agent), *placed, "-n", "4", python]
    if run([*command, "-c", "pass"]).code:
        pytest.skip("a second name for this machine needs root, unshare, and a network besides loopback")
    return command


@pytest.mark.parametrize(
    ("overrides", "deaths"),
    [
        (CLIPPED, "barrier:30:3 all_gather:120:0"),
        (CLIPPED, "exchange_between_hosts:20:2 barrier:90:1"),
        (WEIGHTED, "exchange_between_hosts+:9:0 all_gather:60:3"),
    ],
)
def test_survivors_on_two_hosts_have_the_same_bits(two_hosts, tmp_path, overrides, deaths):
    """Open MPI's collectives for several hosts returned without the data of a lost process, and without an error."""
    command = [*two_hosts, "tests/dying.py", deaths, "0", *overrides, "--output", str(tmp_path / "run")]
    finished = run(command)
    assert "on 4 MPI processes of 2 hosts" in finished.stderr
    check_survivors(finished, tmp_path / "run", overrides, 2)


class Communicator:
    """One of which `failed` processes are known to be lost."""

    def __init__(self, failed: int, revoked: bool) -> None:
        self.failed, self.revoked, self.revoked_here = failed, revoked, False

    def Get_failed(self) -> SimpleNamespace:
        return SimpleNamespace(size=self.failed, Free=lambda: None)

    def Is_revoked(self) -> bool:
        return self.revoked

    def Revoke(self) -> None:
        self.revoked_here = True


@pytest.mark.parametrize("error", [None, UnpicklingError("of a row that never came"), ProcessLost("another")])
@pytest.mark.parametrize(("failed", "revoked"), [(0, False), (1, False), (0, True)])
def test_a_known_loss_fails_a_call_however_it_ends(monkeypatch, error, failed, revoked):
    monkeypatch.setenv("OMPI_MCA_mpi_ft_enable", "1")
    classes = dict.fromkeys(("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED", "ERR_OTHER"))
    mpi, peers = SimpleNamespace(COMM_NULL=None, Exception=MemoryError, **classes), Communicator(failed, revoked)
    transport = object.__new__(FaultTolerantMpi)
    transport._world = SimpleNamespace(MPI=mpi, communicator=Communicator(0, False), host_peers=peers)
    transport._leaders = None

    def call() -> None:
        with transport._losses():
            if error:
                raise error

    if failed or revoked:
        with pytest.raises(ProcessLost, match="a process was lost"):
            call()
        assert transport._world.communicator.revoked_here, "so that the others notice it"
    elif error:
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
    else:
        call()


@pytest.mark.parametrize(("first", "count"), [("", 0), ("from mpi4py import MPI; ", 1)])
def test_an_mpi_that_the_caller_has_initialized_is_warned_of_once(openmpi, first, count):
    program = f"{first}from psgd.group.mpi.world import World; World().close(); World().close()"
    finished = run(openmpi.fault_tolerant(2, "-c", program))
    assert (finished.code, finished.stderr.count("-x OMPI_MCA_coll_han_priority=-1")) == (0, count), finished


def test_a_call_of_fit_survives_its_first_process(openmpi, tmp_path, unbroken):
    finished = run(openmpi.fault_tolerant(3, "tests/fit_run.py", str(tmp_path / "run"), "SIGKILL-4"))
    assert finished.code == 0, finished
    summary = json.loads(finished.stdout)
    assert summary["parameters_sha256"] == unbroken.summary["parameters_sha256"]
    assert summary["processes"] == 2
    assert [row["round"] for row in metrics(tmp_path / "run")] == [row["round"] for row in unbroken.history]


def test_a_process_that_is_lost_before_training_ends_the_job(openmpi, tmp_path):
    arguments = ("load_once_per_host:1:1", "3", *ROUNDS, "--output", str(tmp_path / "run"))
    finished = run(openmpi.fault_tolerant(3, "tests/dying.py", *arguments))
    assert finished.code == 5, finished
    assert "another process was lost before training began" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_exception_ends_all(openmpi, tmp_path):
    finished = run(openmpi.fault_tolerant(4, "tests/raising.py", *LONG, "--output", str(tmp_path / "run")))
    assert finished.code == 1, finished
    assert finished.stderr.count("ZeroDivisionError: deliberately, in round 3") == 1


def test_survivors_keep_the_directory_and_can_be_stopped(openmpi, tmp_path):
    """The first process is killed from outside; nobody else may resume the run before the others have ended."""
    directory, endless = tmp_path / "run", (*LONG, "training.epochs=1e6")
    running = Running(openmpi.fault_tolerant(3, "-m", "psgd.train", *endless, "--output", str(directory)))
    metrics = directory / "metrics.jsonl"
    running.wait_until(metrics.exists)
    os.kill(next(pid for pid in running.ranks() if rank_of(pid) == 0), signal.SIGKILL)
    before = metrics.stat().st_size
    running.wait_until(lambda: metrics.stat().st_size > before + 10_000)
    refused = python("-m", "psgd.train", "--resume", "--output", str(directory))
    assert (refused.code, "another psgd is at work in" in refused.stderr) == (2, True), refused
    os.kill(running.process.pid, signal.SIGUSR1)
    finished = running.finish()
    assert finished.code == 75, finished
    assert "process 0 was lost; 2 processes go on" in finished.stderr
    assert read_summary(directory)["status"] == "stopped"


def test_a_hanging_process_ends_the_job_after_the_patience(openmpi, tmp_path):
    """The one that waits kills the one that is stopped: a launcher would wait for it."""
    # A loaded machine may take a second to compile.
    directory, endless = tmp_path / "run", (*LONG, "training.epochs=1e6", "compile=never", "cluster.patience=2")
    running = Running(openmpi.fault_tolerant(2, "-m", "psgd.train", *endless, "--output", str(directory)))
    running.wait_until((directory / "metrics.jsonl").exists)
    os.kill(next(pid for pid in running.ranks() if rank_of(pid) == 1), signal.SIGSTOP)
    finished = running.finish()
    assert finished.code == 5, finished
    assert "waited for process 1, which did not come to an exchange" in finished.stderr
    assert running.none_left()


def rank_of(pid: int) -> int | None:
    with open(f"/proc/{pid}/environ", "rb") as file:
        named = dict(row.split(b"=", 1) for row in file.read().split(b"\0") if b"=" in row)
    return int(named[b"OMPI_COMM_WORLD_RANK"]) if b"OMPI_COMM_WORLD_RANK" in named else None
