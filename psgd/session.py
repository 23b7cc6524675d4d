"""One process's session: from settings and a transport to a result and an exit code, with the run directory's files."""

import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from psgd.agreement import Ended
from psgd.build import build_job
from psgd.data.dataset import Data
from psgd.environment import describe_group, environment, mixed_kernels
from psgd.errors import Diverged, PsgdError, StorageError
from psgd.group.transport import Transport
from psgd.job import Job
from psgd.loop import Loop, Stopped
from psgd.record import Record
from psgd.rundir import write_json
from psgd.signals import Signals, exit_code
from psgd.summary import summarize, write_model

Settings = dict[str, Any]


class Result(NamedTuple):
    code: int
    summary: dict[str, Any] | None  # on the first process


def run_session(
    settings: Settings,
    data: Data,
    transport: Transport,
    directory: Path | None,
    signals: Signals,
    quiet: bool = False,
) -> Result:
    """Collective. Errors have been printed, once, when this returns; every process gets the same code."""
    loop: Loop | None = None
    first = transport.process == transport.members[0]
    try:
        job = build_job(settings, data)
        record = Record(directory, job.deal.examples, job.epochs, str(transport.process), quiet)
        loop = Loop(job, transport, record, directory, settings["training"]["checkpoint_seconds"], signals=signals)
        ending = _Ending(settings, job, loop, record, directory)
        processes = describe_group(loop.group)
        if first:
            _introduce(job, loop, processes, directory, record)
        loop.run(ending.done)
        return Result(0, ending.summary)
    except Ended as ended:
        return Result(ended.code, None)
    except PsgdError as error:
        if first or (loop is not None and loop.agreement.failure is error):
            complain(error, transport.process)
        if loop is not None and loop.group.first and isinstance(error, Stopped | Diverged):
            ending.early("stopped" if isinstance(error, Stopped) else "diverged")
            return Result(exit_code(error.number) if isinstance(error, Stopped) else error.code, ending.summary)
        return Result(exit_code(error.number) if isinstance(error, Stopped) else error.code, None)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        if loop is None or error is not loop.agreement.failure:
            transport.abort(1)  # raised between two meetings: the others wait for this process and cannot be told
        return Result(1, None)


def complain(error: PsgdError, process: int) -> None:
    print(f"[{process}] psgd: {error}", file=sys.stderr, flush=True)


class _Ending:
    """What is written when training ends, one way or another."""

    def __init__(self, settings: Settings, job: Job, loop: Loop, record: Record, directory: Path | None) -> None:
        self._settings, self._job, self._loop, self._record = settings, job, loop, record
        self._directory = directory
        self.summary: dict[str, Any] | None = None

    def done(self, loop: Loop) -> None:
        """On the first process only; what it raises ends the job everywhere."""
        if self._directory:
            path = self._directory / "model.safetensors"
            try:
                write_model(path, self._settings, self._job.learner, loop.replica.parameters)  # type: ignore[arg-type]
            except (OSError, SafetensorError) as error:
                raise StorageError(f"cannot write {path}: {error}") from None
        self._summarize("target-reached" if loop.replica.progress.reached else "done")

    def early(self, status: str) -> None:
        """As well as can be: the job has ended already, with a code that this must not change."""
        try:
            self._summarize(status)
        except StorageError as error:
            complain(error, self._loop.group.transport.process)

    def _summarize(self, status: str) -> None:
        self.summary = summarize(self._settings, self._loop, self._record, self._job.deal.examples, status)
        if self._directory:
            write_json(self._directory / "summary.json", self.summary)


def _introduce(job: Job, loop: Loop, processes: list[dict[str, Any]], directory: Path | None, record: Record) -> None:
    transport = loop.group.transport
    hosts, blas = len(set(transport.hosts)), processes[0]["blas"]
    record.say(
        f"{job.data.note}; {job.learner.size:,} parameters; {job.workers} workers on {len(transport.members)} "
        f"{transport.kind} process{'es' * (len(transport.members) > 1)}"
        + (f" of {hosts} hosts" if hosts > 1 else "")
        + f"; {blas['name']} {blas['version']} {blas['kernel']}"
    )
    if job.deal.note:
        record.say(job.deal.note)
    if warning := mixed_kernels(processes):
        record.say(f"warning: {warning}")
    if directory:
        write_json(directory / "environment.json", environment(processes))
