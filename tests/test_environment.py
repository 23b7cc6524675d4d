"""What environment.json says of a machine, and that no process is started for it."""

import platform
import sys

import pytest
from processes import mpi, run  # noqa: F401

from psgd.jobs.environment import environment

# Trains, and prints an event of Python's that starts another process.
WATCHED = """
import sys

def print_start(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        print("started:", event, arguments, file=sys.stderr)

sys.addaudithook(print_start)
from psgd.jobs.launch.command import main
sys.exit(main(["digits", *sys.argv[1:], "training.epochs=1", "--quiet"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the names of Linux")
def test_the_platform_is_that_of_the_library():
    assert environment([])["platform"] == platform.platform()


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_training_starts_no_other_process(group, tmp_path):
    finished = run([sys.executable, "-c", WATCHED, f"group={group}", "--output", str(tmp_path / "run")])
    assert (finished.code, finished.stderr) == (0, "")
    assert (tmp_path / "run" / "environment.json").exists()


def test_processes_of_mpi_start_no_other(mpi, tmp_path):  # noqa: F811
    """A fork may copy pages with which a network card is at work."""
    finished = run(mpi.command(2, "-c", WATCHED, "--output", str(tmp_path / "run")))
    assert finished.code == 0, finished
    assert "started:" not in finished.stderr
