"""Runs each check in a process of its own, all at the same time, so that one that hangs or crashes is only reported."""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple, NoReturn

from psgd.doctor.finding import Finding, wrong


class Check(NamedTuple):
    """A line of the table of checks."""

    name: str
    run: Callable[[], list[Finding]]
    seconds: float = 20.0  # that it may take, on a busy machine too


class _Child(NamedTuple):
    """The process of a check, and the pipe from which its findings are read."""

    process: int
    pipe: int
    deadline: float  # by time.monotonic


def run_isolated(checks: Sequence[Check]) -> Iterator[list[Finding]]:
    """Start all checks, and yield the findings of each in the order of `checks`. Whatever happens, their processes are
    gone afterwards."""
    children: list[_Child] = []
    try:
        for check in checks:
            children.append(_start(check))
        for check, child in zip(checks, children, strict=True):
            yield _findings(check, child)
    finally:
        for child in children:
            _end(child)


def _start(check: Check) -> _Child:
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        _be_the_check(check, write)
    os.close(write)
    return _Child(process, read, time.monotonic() + check.seconds)


def _be_the_check(check: Check, pipe: int) -> NoReturn:
    """Run in the new process: what libraries print is dropped, and nothing of the parent's is run at the end."""
    try:
        os.setsid()  # so that it can be killed with the programs that it starts, and Ctrl-C is for the parent
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(check.seconds) + 2)  # ends it where the parent was killed
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        try:
            findings = check.run()
        except Exception as error:  # the check's own fault, or a broken library's
            findings = [wrong(check.name, f"this check failed: {type(error).__name__}: {' '.join(str(error).split())}")]
        with os.fdopen(pipe, "w", encoding="utf-8") as file:
            json.dump([asdict(finding) for finding in findings], file, default=str)
    finally:
        os._exit(0)


def _findings(check: Check, child: _Child) -> list[Finding]:
    received = b""
    while select.select([child.pipe], [], [], max(0.0, child.deadline - time.monotonic()))[0]:
        block = os.read(child.pipe, 1 << 16)
        if not block:
            return _read(check, received, child)
        received += block
    return [wrong(check.name, f"this check has not ended within {check.seconds:g} s, and was stopped")]


def _read(check: Check, received: bytes, child: _Child) -> list[Finding]:
    """The findings that a check wrote, or one about its end if it was killed while it ran."""
    try:
        return [Finding(**each) for each in json.loads(received)]
    except ValueError:
        status = os.waitpid(child.process, 0)[1]
        cause = signal.strsignal(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else f"exit code {status >> 8}"
        return [
            wrong(check.name, f"this check crashed: {cause}: a library that it loads is broken, or not for this CPU")
        ]


def _kill(child: _Child) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process, signal.SIGKILL)


def _end(child: _Child) -> None:
    """Kill a check that still runs. One that the kernel holds (a dead network file system) is left to it."""
    with contextlib.suppress(OSError):
        os.close(child.pipe)
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(child.process, os.WNOHANG)[0] == 0:
            _kill(child)
            for _ in range(100):
                if os.waitpid(child.process, os.WNOHANG)[0]:
                    return
                time.sleep(0.005)
