"""Runs other programs, each with a time limit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psgd

_REST_SECONDS = 2.0  # for the output of a program that was killed


class Finished(NamedTuple):
    """A program's end. `code`: None if it ran past its limit."""

    code: int | None
    output: str  # of both streams together
    seconds: float


def run(command: Sequence[str], limit: float, **variables: str) -> Finished:
    """Run a program for `limit` seconds at most, then kill all that it started. OSError if it cannot be started."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **variables},
        start_new_session=True,
    )
    code: int | None = None
    try:
        output, _ = process.communicate(timeout=limit)
        code = process.returncode
    except subprocess.TimeoutExpired:
        output = _kill(process)
    return Finished(code, output, time.monotonic() - began)


def _kill(process: subprocess.Popen[str]) -> str:
    """Kill a program and what it started, and return what they wrote."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=_REST_SECONDS)[0]
    except subprocess.TimeoutExpired:  # a process that left the group holds the pipe open
        assert process.stdout
        process.stdout.close()
        return ""


def module(name: str) -> tuple[list[str], dict[str, str]]:
    """The command and variables with which this Python runs a module of this psgd, whatever the current directory."""
    here = str(Path(psgd.__file__).parents[1])
    path = os.pathsep.join(part for part in (here, os.environ.get("PYTHONPATH", "")) if part)
    return [sys.executable, "-P", "-m", name], {"PYTHONPATH": path}
