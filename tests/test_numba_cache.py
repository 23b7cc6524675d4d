"""Compiled code is kept in numba's cache, also when several processes compile at the same time."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from processes import ROOT, Finished, Running, installed_mpi, python, run

pytest.importorskip("numba")
SHORT = ("data.examples=60", "training.epochs=1", "workers=3")
JOB = ("data.source=synthetic", "model.hidden=[2]", *SHORT)
SPARSE = (
    "data.source=synthetic-sparse",
    "data.features=50",
    "data.active=5",
    "model.hidden=[]",
    "model.loss=hinge",
    *SHORT,
)
COMPILES = "numba compiles the inner loops"
# numba is used wherever it saves any time
EAGER = (
    "from psgd.jobs.launch.command import main; import psgd.jobs.choose.backend as c; c.START_SECONDS = 0.0;"
    "raise SystemExit(main())"
)

# The training whose arguments follow the names of two files: when it compiles, it waits for another that does so, too.
MEETING = """
import sys, time
from pathlib import Path
from psgd.jobs.launch.command import main
from psgd.backends.numba.compiler import event

own, other = map(Path, sys.argv[1:3])

class Meeting(event.Listener):
    def on_start(self, event):
        own.touch()
        while not other.exists():
            time.sleep(0.001)

    def on_end(self, event):
        pass

event.register("numba:compile", Meeting())
sys.exit(main(sys.argv[3:]))
"""


def parameters(stdout: str) -> str:
    return json.loads(stdout)["parameters_sha256"]


GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}  # numba takes another processor from these variables


def start(
    directory: Path,
    cache: Path,
    job: tuple[str, ...] = SPARSE,
    command: tuple[str, ...] = ("-m", "psgd.train"),
    **variables: str,
) -> Running:
    """Start a run. For SPARSE, a single short kernel is compiled; for JOB, all of a network, in seconds."""
    job = (*job, "compile=always", "group=serial", "--output", str(directory))
    return Running([sys.executable, *command, *job], NUMBA_CACHE_DIR=str(cache), **variables)


def check_compiled(finished: list[Finished], *times: int) -> None:
    """Check that the runs compiled or did not, and have the same parameters."""
    assert [each.code for each in finished] == [0] * len(times), finished
    assert [each.stderr.count(COMPILES) for each in finished] == [*times]
    assert all("compiled by numba" in each.stderr for each in finished)
    assert len({parameters(each.stdout) for each in finished}) == 1


def check_complete(cache: Path) -> None:
    """Check that there are two files of each kernel and processor, and nothing half-written."""
    names = [path.name for path in cache.rglob("*") if path.is_file()]
    assert {name.rsplit(".", 1)[1] for name in names} == {"nbi", "nbc"}
    assert len(names) == 2 * len({name.split("-")[0] for name in names})


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> tuple[Path, list[Finished]]:
    """A cache, and the two runs that filled it, none of which found it filled by the other."""
    directory = tmp_path_factory.mktemp("numba")
    files = [str(directory / name) for name in ("one", "other")]
    commands = [("-c", MEETING, *names) for names in (files, files[::-1])]
    running = [
        start(directory / str(number), directory / "cache", command=command) for number, command in enumerate(commands)
    ]
    return directory / "cache", [each.finish() for each in running]


def test_processes_that_compile_at_the_same_time_share_a_cache(tmp_path, cache):
    """And one that comes later compiles nothing."""
    directory, finished = cache
    check_complete(directory)
    check_compiled([*finished, start(tmp_path / "later", directory).finish()], 1, 1, 0)


def test_all_kernels_of_a_network_are_cached(tmp_path):
    finished = [start(tmp_path / name, tmp_path / "cache", JOB).finish() for name in ("first", "later")]
    check_complete(tmp_path / "cache")
    check_compiled(finished, 1, 0)


def test_another_processor_compiles_again_and_both_keep_their_code(tmp_path, cache):
    """Processes of several hosts compile so on a shared home directory."""
    directory, _ = cache
    first = start(tmp_path / "first", directory, **GENERIC).finish()
    later = [start(tmp_path / "native", directory), start(tmp_path / "generic", directory, **GENERIC)]
    check_compiled([first, *(each.finish() for each in later)], 1, 0, 0)


def test_without_a_writable_directory_nothing_is_cached(tmp_path):
    """Neither beside the code nor in the user's cache: files stand in place of both directories."""
    shutil.copytree(ROOT / "psgd", tmp_path / "psgd", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "psgd" / "backends" / "numba" / "__pycache__").write_text("no directory")
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1", "XDG_CACHE_HOME": str(tmp_path / "psgd/train.py")}
    job = (*SPARSE, "compile=always", "group=serial", "--output", str(tmp_path / "run"))
    finished = python("-m", "psgd.train", *job, **variables)
    check_compiled([finished], 1)
    assert not list(tmp_path.rglob("*.nbi"))


def test_a_process_that_cannot_compile_ends_all_processes(tmp_path):
    mpi = installed_mpi("mpich")
    (tmp_path / "numba.py").write_text("raise ImportError('no compiler today')")
    job = ("-m", "psgd.train", *JOB, "compile=always", "--output", str(tmp_path / "run"))
    first, *one = mpi.command(1, *job)
    other = [one[0], one[1], "-env", "PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}", *one[2:]]
    finished = run([first, *one, ":", *other])
    assert finished.code == 2
    assert finished.stderr.count("compile is always, which needs a numba that works (no compiler today)") == 1
    assert "[1] psgd: " in finished.stderr


def test_a_broken_numba_does_not_end_a_job_with_compile_auto(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('no compiler today')")
    variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    job = ("-c", EAGER, *JOB, "group=threads", "cluster.processes=2", "--output", str(tmp_path / "run"))
    finished = python(*job, **variables)
    assert finished.code == 0, finished
    assert finished.stderr.count("psgd: the inner loops cannot be compiled: no compiler today") == 1
    assert "compiled by numba" not in finished.stderr


def test_a_signal_during_compilation_ends_the_run_before_training(tmp_path):
    """Sent to the whole process group, as by a terminal."""
    begun = tmp_path / "begun"
    fake = f"import time; open({str(begun)!r}, 'w'); time.sleep(1); raise ImportError('no compiler today')"
    (tmp_path / "numba.py").write_text(fake)
    variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    job = Running([sys.executable, "-c", EAGER, *JOB, "--output", str(tmp_path / "run")], **variables)
    job.wait_until(begun.exists)
    os.killpg(job.process.pid, signal.SIGTERM)
    finished = job.finish()
    assert finished.code == 75, finished
    assert "stopped before training began" in finished.stderr
    assert not (tmp_path / "run").exists()
