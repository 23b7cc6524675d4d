"""Under mpirun, with both MPIs: the bits of serial, and every way in which a job can end."""

import json
import os
import signal
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from contract import hashes
from idx_files import write_idx
from processes import LIMIT, Finished, Running, installed_mpi, mpi, python, run
from run_files import read_summary

from psgd.group.serial import Serial

__all__ = ["mpi"]

LONG = ("data.source=synthetic", "data.examples=2000", "data.features=50", "model.hidden=[30]", "training.epochs=100")
ONE_SHOT = (*LONG, "training.epochs=300", "strategy.name=parameter-averaging", "strategy.period=end")


@cache
def uninterrupted(overrides: tuple[str, ...]) -> dict[str, object]:
    """The summary of an uninterrupted run in one process."""
    with tempfile.TemporaryDirectory() as directory:
        return summary(python("-m", "psgd.train", *overrides, "group=serial", "--quiet", "--output", directory))


def summary(finished: Finished) -> dict[str, object]:
    assert finished.code == 0, finished
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def serial() -> dict[str, str]:
    return {name: sha for name, (sha, _) in hashes(Serial).items()}


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_the_contract_and_the_bits_of_serial(mpi, serial, processes):
    """Every strategy, 4 and 8 workers, equal and unequal speeds."""
    finished = run(mpi.command(processes, "tests/contract.py", str(processes)))
    assert finished.code == 0, finished
    assert json.loads(finished.stdout) == {"hosts": 1, "hashes": serial}


def test_the_bits_of_serial_over_two_hosts_of_two(serial):
    """MPICH can simulate several hosts."""
    mpich = installed_mpi("mpich")
    finished = run(mpich.command(4, "tests/contract.py", "4"), MPIR_CVAR_NUM_CLIQUES="2")
    assert finished.code == 0, finished
    assert json.loads(finished.stdout) == {"hosts": 2, "hashes": serial}


@pytest.mark.parametrize(
    ("system", "hosts", "warnings"),
    [
        ("host_memory._create = lambda: (os.memfd_create(''), '/proc/0/fd/0')", 3, 1),
        ("host_memory._create = lambda: (os.memfd_create(''), '/dev/null')", 3, 1),
        ("host_memory.NAMELESS = False", 1, 0),
    ],
    ids=["hidden", "another", "named"],
)
def test_the_bits_of_serial_where_memory_is_shared_in_other_ways(serial, system, hosts, warnings):
    """Every process counts as a host where the others cannot open what it shares, or open something else. Systems
    without nameless memory share a file."""
    code = f"import os, runpy, sys; from psgd.group.mpi import host_memory; {system}; "
    code += "sys.argv = ['', '3']; runpy.run_path('tests/contract.py', run_name='__main__')"
    finished = run(installed_mpi("mpich").command(3, "-c", code))
    assert finished.code == 0, finished
    assert finished.stderr.count("which is slower") == warnings
    assert json.loads(finished.stdout) == {"hosts": hosts, "hashes": serial}


def test_the_bits_of_serial_where_stores_are_seen_out_of_order(mpi, serial):
    """On ARM, say: MPI's own barrier and all-gather take the place of psgd's."""
    code = "import platform, runpy, sys; platform.machine = lambda: 'aarch64'; from psgd.group import spin_barrier; "
    code += "del spin_barrier.SpinBarrier.wait; sys.argv = ['', '3']; "
    code += "runpy.run_path('tests/contract.py', run_name='__main__')"
    finished = run(mpi.command(3, "-c", code))
    assert finished.code == 0, finished
    assert json.loads(finished.stdout) == {"hosts": 1, "hashes": serial}


def test_the_command_gives_the_bits_of_serial(mpi, tmp_path):
    short = ("training.epochs=3", "--quiet")
    alone = summary(python("-m", "psgd.train", "group=serial", *short, "--output", str(tmp_path / "a")))
    together = summary(run(mpi.command(4, "-m", "psgd.train", *short, "--output", str(tmp_path / "b"))))
    assert alone["parameters_sha256"] == together["parameters_sha256"]
    assert (together["group"], together["processes"]) == ("mpi", 4)


def test_an_exception_on_one_process_ends_all(mpi, tmp_path):
    """All processes end, long before the patience is over, with exit code 1 and one traceback."""
    running = Running(mpi.command(4, "tests/raising.py", *LONG, "--output", str(tmp_path / "run")))
    running.wait_until(lambda: (tmp_path / "run" / "environment.json").exists())
    finished = running.finish()
    assert finished.code == 1, finished
    assert finished.stderr.count("Traceback") == 1
    assert finished.stderr.count("ZeroDivisionError: deliberately, in round 3") == 1
    assert running.none_left()


@pytest.mark.parametrize("overrides", [LONG, ONE_SHOT], ids=["rounds", "one-shot"])
def test_killed_and_resumed_with_other_processes(mpi, tmp_path, overrides):
    """After SIGKILL of all processes and --resume, the bits are those of an uninterrupted run."""
    expected = uninterrupted(overrides)
    directory = tmp_path / "run"
    saving = (*overrides, "training.checkpoint_seconds=0.05")
    running = Running(mpi.command(3, "-m", "psgd.train", *saving, "--quiet", "--output", str(directory)))
    running.wait_until(lambda: len(list(directory.glob("checkpoints/0*"))) >= 1)
    running.kill_everything()
    assert not (directory / "summary.json").exists(), "it finished before it was killed"
    resumed = run(mpi.command(2, "-m", "psgd.train", *saving, "--resume", "--quiet", "--output", str(directory)))
    assert summary(resumed)["parameters_sha256"] == expected["parameters_sha256"]
    assert summary(resumed)["worker_steps"] == expected["worker_steps"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=lambda s: s.name)
def test_a_signal_to_the_launcher(mpi, tmp_path, number):
    """A checkpoint is saved, and the exit code says so. Open MPI's mpirun kills its processes on SIGTERM and SIGINT
    before they can save anything; the run can be resumed all the same, from an earlier checkpoint or from the start."""
    expected = uninterrupted(LONG)
    directory = tmp_path / "run"
    running = Running(mpi.command(4, "-m", "psgd.train", *LONG, "--output", str(directory)))
    running.wait_until(lambda: (directory / "metrics.jsonl").exists())
    os.kill(running.process.pid, number)
    finished = running.finish()
    assert "Traceback" not in finished.stderr
    if mpi.name == "openmpi" and number != signal.SIGUSR1:
        assert finished.code != 0
    else:
        assert finished.code == (130 if number == signal.SIGINT else 75), finished
        assert finished.stderr.count("--resume") == 1
        assert read_summary(directory)["status"] == "stopped"
    resumed = summary(python("-m", "psgd.train", "--resume", "--quiet", "--output", str(directory)))
    assert resumed["parameters_sha256"] == expected["parameters_sha256"]


def test_processes_that_do_not_see_each_other_are_an_error(mpi, tmp_path):
    """The launcher of another MPI started four processes; each sees only itself."""
    python_bin = str(mpi.bin / "python")
    arguments = ("-m", "psgd.train", "--output", str(tmp_path / "run"))
    name = "PMI_SIZE" if mpi.name == "openmpi" else "OMPI_COMM_WORLD_SIZE"  # the other MPI's launcher
    finished = run([python_bin, *arguments], **{name: "4"})
    assert finished.code == 2, finished
    assert "the launcher started 4 processes" in finished.stderr
    assert "MPI sees 1" in finished.stderr
    assert not (tmp_path / "run").exists()


def test_invalid_input_is_reported_once(mpi, tmp_path):
    finished = run(mpi.command(3, "-m", "psgd.train", "training.epoch=3", "--output", str(tmp_path / "run")))
    assert finished.code == 2, finished
    assert finished.stderr.count("did you mean epochs?") == 1
    assert "Traceback" not in finished.stderr


def test_divergence_is_reported_once_with_worker_round_and_layer(mpi, tmp_path):
    diverging = ("optimizer.name=sgd", "optimizer.learning_rate=1e6", "model.loss=squared-error")
    finished = run(mpi.command(3, "-m", "psgd.train", *diverging, "--output", str(tmp_path / "run")))
    assert finished.code == 4, finished
    assert finished.stderr.count("is not finite") == 1
    assert "worker 0, round 0: layer 1 weights is not finite" in finished.stderr


def test_data_that_one_host_cannot_read_end_the_job(tmp_path):
    """Its message is printed once, and all processes exit with its code. (MPICH simulates two hosts.)"""
    mpi = installed_mpi("mpich")
    images, labels = np.zeros((40, 2, 2), np.uint8), np.arange(40, dtype=np.uint8) % 4
    write_idx(tmp_path / "there" / "mnist", images, labels)
    arguments = (str(mpi.bin / "python"), "-m", "psgd.train", "data.source=mnist", "--output", str(tmp_path / "run"))
    launcher, nowhere = str(mpi.bin / "mpirun"), f"PSGD_DATA={tmp_path}/nowhere"
    here = ("-n", "1", "env", f"PSGD_DATA={tmp_path}/there", *arguments)
    finished = run(
        [launcher, *here, ":", "-n", "1", "env", nowhere, f"HOME={tmp_path}", *arguments],
        MPIR_CVAR_NUM_CLIQUES="2",
    )
    assert finished.code == 3, finished
    assert finished.stderr.count("data.source mnist: no directory at") == 1
    assert "Traceback" not in finished.stderr


def test_a_host_holds_one_copy_of_the_data(mpi, tmp_path):
    """One process loads them, all read the same memory, and none can write to it; mapped files are not copied."""
    finished = run(mpi.command(3, "tests/sharing.py", str(tmp_path / "mapped.npy")))
    assert finished.code == 0, finished
    assert [finished.stdout.count(word) for word in ("made", "same", "mapped")] == [1, 3, 3]


def test_a_hanging_process_ends_the_job_after_the_patience(mpi, tmp_path):
    """A stopped process still exists: only the deadline detects it."""
    # A loaded machine may take a second to compile.
    endless = (*LONG, "training.epochs=1e6", "compile=never", "cluster.patience=2")
    running = Running(mpi.command(2, "-m", "psgd.train", *endless, "--output", str(tmp_path / "r")))
    running.wait_until(lambda: (tmp_path / "r" / "metrics.jsonl").exists())
    victim = running.ranks()[-1]
    os.kill(victim, signal.SIGSTOP)
    try:
        finished = running.finish()
    finally:
        if victim in running.ranks():
            os.kill(victim, signal.SIGKILL)
    assert finished.code == 5, finished
    assert "waited for process" in finished.stderr


@pytest.mark.parametrize(("name", "event"), [("mpich", "share"), ("mpich", "memory"), ("openmpi", "start")])
def test_a_process_that_is_stopped_before_training_ends_the_job(name, event, tmp_path):
    there = installed_mpi(name)
    arguments = ("tests/stopping.py", event, "cluster.patience=1", "--quiet", "--output", str(tmp_path / "r"))
    finished = run(there.command(3, *arguments))
    assert finished.code == 5, finished
    who = "another process" if event == "start" else "process 1"
    assert f"waited for {who}, which did not come to an exchange" in finished.stderr


def test_nothing_is_left_behind_when_the_launcher_is_killed(mpi, tmp_path):
    """The parent of the processes: MPICH's proxy, or Open MPI's mpirun itself."""
    endless = (*LONG, "training.epochs=1e6", "--output", str(tmp_path / "r"))
    running = Running(mpi.command(2, "-m", "psgd.train", *endless))
    running.wait_until(lambda: (tmp_path / "r" / "metrics.jsonl").exists())
    ranks = running.ranks()
    assert len(ranks) == 2
    os.kill(parent(ranks[0]), signal.SIGKILL)
    try:
        running.process.communicate(timeout=LIMIT)
        limit = time.monotonic() + LIMIT
        while any(map(alive, ranks)):
            assert time.monotonic() < limit, "the processes go on"
            time.sleep(0.01)
    finally:
        for rank in filter(alive, ranks):
            os.kill(rank, signal.SIGKILL)


def test_a_signal_to_a_script_that_started_the_launcher(mpi, tmp_path):
    """Intel MPI's mpirun is one, and ends alone: the processes save a checkpoint, and end."""
    launcher, *arguments = mpi.command(2, "-m", "psgd.train", *LONG, "training.epochs=1e6")
    script = tmp_path / "mpirun"
    script.write_text(f'#!/bin/sh\n{launcher} "$@"\nexit $?\n')
    script.chmod(0o755)
    running = Running([str(script), *arguments, "--output", str(tmp_path / "r")])
    running.wait_until(lambda: (tmp_path / "r" / "metrics.jsonl").exists())
    os.kill(running.process.pid, signal.SIGTERM)
    finished = running.finish()
    assert "the MPI launcher is gone" in finished.stderr, finished
    assert read_summary(tmp_path / "r")["status"] == "stopped"
    assert running.none_left()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_in_a_container_whose_dev_shm_is_small(tmp_path):
    """MPICH takes little of it, and what the processes of a host share, here 20 MB of data, is not bound by it."""
    mpich, size = installed_mpi("mpich"), ("data.source=synthetic", "data.examples=50000", "data.features=100")
    arguments = (*size, "training.epochs=1", "workers=2", "training.batch_size_per_worker=500", "--quiet", "--output")
    mount = "mount -t tmpfs -o size=16m tmpfs /dev/shm && exec"
    if os.getuid() != 0 or run(["unshare", "-m", "sh", "-c", f"{mount} true"]).code != 0:
        pytest.skip("needs root, to mount another /dev/shm")
    command = mpich.command(2, "-m", "psgd.train", *arguments, str(tmp_path / "small"))
    small = run(["unshare", "-m", "sh", "-c", f'{mount} "$@"', "sh", *command])
    alone = python("-m", "psgd.train", "group=serial", *arguments, str(tmp_path / "alone"))
    assert small.stderr == ""
    assert summary(small)["parameters_sha256"] == summary(alone)["parameters_sha256"]
    assert summary(small)["hosts"] == 1
