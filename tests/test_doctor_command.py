"""The command psgd doctor, with real processes: its output and exit code, and what hangs, crashes or is missing."""

import json
import os
import sys
from pathlib import Path

import pytest
from processes import mpis, python, run

DOCTOR = (sys.executable, "-m", "psgd.doctor")


def by_check(text: str) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for finding in json.loads(text):
        assert set(finding) == {"check", "level", "text", "advice", "details"}
        found.setdefault(finding["check"], []).append(finding)
    return found


def test_every_check_of_this_machine_as_json(tmp_path):
    """With variables left behind, so that there is something wrong, and a library that prints."""
    finished = python(*DOCTOR[1:], "--json", PMI_SIZE="4", PMI_RANK="1", PSGD_DATA=str(tmp_path), OPENBLAS_VERBOSE="2")
    found = by_check(finished.stdout)
    assert finished.code == 2, finished
    assert finished.stderr == ""
    checks = ("python", "packages", "blas", "cores", "load", "memory", "/dev/shm", "mpi", "launcher", "gpu", "data")
    assert set(found) >= {*checks, "files", "temporary", "limits", "locale", "clock"}
    failed = [each for row in found.values() for each in row if "this check" in each["text"]]
    assert not failed
    assert found["launcher"][0]["level"] == "wrong"
    assert found["launcher"][0]["advice"] == "unset PMI_RANK PMI_SIZE"
    assert found["cores"][0]["details"]["affinity"] == len(os.sched_getaffinity(0))


def test_one_line_a_finding_and_the_count_at_the_end():
    code = (
        "from psgd.doctor import __main__ as command\n"
        "from psgd.doctor.checks import clock, limits\n"
        "from psgd.doctor.isolation import Check\n"
        "command.CHECKS = (Check('clock', clock.check), Check('bad', lambda: 1 / 0), Check('limits', limits.check))\n"
        "raise SystemExit(command.main([]))"
    )
    finished = python("-c", code)
    assert finished.code == 2
    first, second, third, last = finished.stdout.splitlines()
    assert first.startswith("ok     clock ")
    assert second == "wrong  bad            this check failed: ZeroDivisionError: division by zero"
    assert "limits" in third
    assert last.startswith("1 is wrong; ")


def test_a_standard_output_that_the_caller_has_closed_is_no_terminal():
    code = (
        "import sys\n"
        "from psgd.doctor import __main__ as command\n"
        "command.CHECKS = ()\n"
        "sys.stdout = None\n"  # what Python has there then
        "raise SystemExit(command.main([]))"
    )
    finished = python("-c", code)
    assert (finished.code, finished.stdout, finished.stderr) == (0, "", "")


def test_a_check_that_hangs_crashes_or_says_nothing_is_only_reported():
    code = (
        "import ctypes, json, os, signal, subprocess, sys, time\n"
        "from psgd.doctor.isolation import Check, run_isolated\n"
        "def hang():\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "    time.sleep(60)\n"
        "checks = [Check('hang', hang, 1.0), Check('crash', lambda: ctypes.string_at(0)),\n"
        "          Check('leave', lambda: os._exit(3)), Check('print', lambda: print('noise') or [])]\n"
        "print(json.dumps([[each.text for each in findings] for findings in run_isolated(checks)]))\n"
        "children = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(os.getpid())], capture_output=True, text=True)\n"
        "assert len(children.stdout.split()) == 1, children.stdout  # ps itself\n"
    )
    finished = python("-c", code)
    assert finished.code == 0, finished
    (hang,), (crash,), (leave,), nothing = json.loads(finished.stdout)
    assert hang == "this check has not ended within 1 s, and was stopped"
    assert "Segmentation fault" in crash
    assert "exit code" in leave
    assert nothing == []


def trial(bin: Path, first: Path, **variables: str) -> tuple[str, str]:
    """The level and the line of the check of MPI by the Python in `bin`, where PATH begins with `first`."""
    code = "from psgd.doctor.checks.mpi import check; (found,) = check(); print(found.level, found.line(), sep='\\n')"
    path = f"{first}{os.pathsep}/usr/bin{os.pathsep}/bin"
    finished = run([str(bin / "python"), "-c", code], PATH=path, **variables)
    assert finished.code == 0, finished
    level, line = finished.stdout.splitlines()
    return level, line


def test_two_processes_of_each_mpi_meet_and_mixed_ones_are_told():
    mpich, openmpi = (mpi.bin for mpi in mpis())
    if not (mpich / "mpirun").exists() or not (openmpi / "mpirun").exists():
        pytest.skip("needs both MPIs: scripts/test makes an environment for each")
    level, line = trial(mpich, mpich)
    assert level == "ok"
    assert line.startswith("MPICH")
    assert "joined two processes" in line
    level, line = trial(openmpi, openmpi)
    assert level == "ok"
    assert line.startswith("Open MPI v5")
    for bin, first, words in ((mpich, openmpi, "is Open MPI's, but mpi4py uses MPICH"), (openmpi, mpich, "is MPICH's")):
        level, line = trial(bin, first)
        assert level == "wrong"
        assert words in line
        assert line.endswith(f"export PATH={bin}:$PATH")


def test_a_dev_shm_as_small_as_a_containers():
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec"
    if os.getuid() != 0 or run(["unshare", "-m", "sh", "-c", f"{mount} true"]).code != 0:
        pytest.skip("needs root, to mount another /dev/shm")
    code = (
        "from psgd.doctor.checks import mpi, shared_memory\n"
        "for found in shared_memory.check() + mpi.check(): print(found.level, found.line())"
    )
    finished = run(["unshare", "-m", "sh", "-c", f'{mount} "$@"', "sh", sys.executable, "-c", code])
    assert finished.code == 0, finished
    room, tried = finished.stdout.splitlines()
    assert room.startswith("wrong 1.05 MB free of 1.05 MB: MPI's processes die of a bus error")
    assert tried.startswith("wrong not tried: /dev/shm is so full") or "group mpi cannot be used" in tried


def test_nothing_is_written(tmp_path):
    """numba, which keeps a cache, and MPI, which makes shared memory, are not tried."""
    code = (
        f"import os; os.chdir({str(tmp_path)!r})\n"
        "from psgd.doctor.table import CHECKS\n"
        "for check in CHECKS:\n"
        "    if check.name not in ('mpi', 'numba'): check.run()\n"
    )
    here = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "PSGD_DATA")}
    finished = python("-c", code, **here, XDG_CACHE_HOME="", NUMBA_CACHE_DIR="", PYTHONDONTWRITEBYTECODE="1")
    assert finished.code == 0, finished
    assert not list(tmp_path.iterdir())
