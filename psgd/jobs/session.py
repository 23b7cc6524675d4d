"""One process's session: from settings and a transport to a result and an exit code, with the run directory's files."""

import sys
import traceback
from typing import Any, NamedTuple

from safetensors import SafetensorError

from psgd.backends.blas import held_back
from psgd.core.errors import Diverged, PsgdError, StorageError
from psgd.core.files import write_json, write_text
from psgd.data.dataset import Data
from psgd.group.failure import Ended
from psgd.group.transport import Transport
from psgd.jobs.build import build_job
from psgd.jobs.environment import describe_group, environment, mixed_kernels
from psgd.jobs.request import RunRequest
from psgd.jobs.summary import summarize, write_model
from psgd.learners.mlp import MLP
from psgd.learners.sparse_linear import SparseLinear
from psgd.training.job import Job
from psgd.training.loop import Loop, Stopped
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals, exit_code


class Result(NamedTuple):
    code: int
    summary: dict[str, Any] | None  # on the first process


def run_session(order: RunRequest, data: Data, transport: Transport, signals: Signals) -> Result:
    """Collective. Errors have been printed, once, when this returns; every process gets the same code."""
    loop: Loop | None = None
    first = transport.process == transport.members[0]
    try:
        job, saving = _build(order, data, transport), order.settings["training"]["checkpoint_seconds"]
        record = Recorder(order.directory, job.sampler.examples, job.epochs, str(transport.process), order.quiet)
        papers = RunFiles(order, job, record)
        loop = Loop(job, transport, record, order.directory, saving, signals=signals, started=papers.started)
        papers.attach(loop, describe_group(loop.group))
        loop.run(papers.done)
        return Result(0, papers.summary)
    except Ended as ended:
        return Result(ended.code, None)
    except PsgdError as error:
        code = exit_code(error.number) if isinstance(error, Stopped) else error.code
        if first or (loop is not None and loop.agreement.failure is error):
            complain(error, transport.process)
        if loop is None or not loop.group.first or not isinstance(error, Stopped | Diverged):
            return Result(code, None)
        papers.early("stopped" if isinstance(error, Stopped) else "diverged")
        return Result(code, papers.summary)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        if loop is None or error is not loop.agreement.failure:
            transport.abort(1)  # raised between two meetings: the others wait for this process and cannot be told
        return Result(1, None)


def _build(order: RunRequest, data: Data, transport: Transport) -> Job:
    """Collective: what one process cannot build, none goes on with."""
    failure, job = None, None
    try:
        job = build_job(order.settings, data)
    except PsgdError as error:
        failure = error
    codes = [row[0] for row in transport.all_gather(bytes([failure.code if failure else 0]))]
    if job and not any(codes):
        return job
    first = next(i for i, code in enumerate(codes) if code)
    if failure and transport.process == transport.members[first]:
        complain(failure, transport.process)
    raise Ended(codes[first])


def complain(error: PsgdError, process: int) -> None:
    print(f"[{process}] psgd: {error}", file=sys.stderr, flush=True)


class RunFiles:
    """What is written about a run when it starts and when it ends, by the first process alone."""

    def __init__(self, order: RunRequest, job: Job, record: Recorder) -> None:
        self._order, self._job, self._record = order, job, record
        self.summary: dict[str, Any] | None = None

    def attach(self, loop: Loop, processes: list[dict[str, Any]]) -> None:
        self._loop, self._processes = loop, processes

    def started(self, resumed: bool) -> None:
        say, job, progress = self._record.say, self._job, self._loop.replica.progress
        say(_introduction(job, self._loop, self._processes))
        if job.sampler.note:
            say(job.sampler.note)
        for warning in (mixed_kernels(self._processes), held_back()):
            if warning:
                say(f"warning: {warning}")
        dealt = int(job.strategy.plan(0).sum()) * job.batch
        if dealt >= 2 * job.end:
            say(
                f"warning: a round deals {dealt} examples, more than the {job.end} of training.epochs: "
                "lower strategy.period"
            )
        if resumed:
            say(f"going on from round {progress.round}, epoch {progress.position / job.sampler.examples:.2f}")
        elif self._order.resume:
            say("warning: there is no checkpoint here yet: starting from the beginning")
        if self._order.directory:
            write_text(self._order.directory / "config.yaml", self._order.config)
            write_json(self._order.directory / "environment.json", environment(self._processes))

    def done(self, loop: Loop) -> None:
        if self._order.directory:
            path = self._order.directory / "model.safetensors"
            try:
                learner: MLP | SparseLinear = self._job.learner  # type: ignore[assignment]
                write_model(path, self._order.settings, learner, loop.replica.parameters, self._job.data)
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
        self.summary = summarize(self._order.settings, self._loop, self._record, self._job.sampler.examples, status)
        if self._order.directory:
            write_json(self._order.directory / "summary.json", self.summary)


def _introduction(job: Job, loop: Loop, processes: list[dict[str, Any]]) -> str:
    transport, blas = loop.group.transport, processes[0]["blas"]
    count, hosts = len(transport.members), len(set(transport.hosts))
    one, many = {
        "serial": ("one process", ""),
        "threads": ("one thread", "threads"),
        "ray": ("one Ray actor", "Ray actors"),
    }.get(transport.kind, ("one MPI process", "MPI processes"))
    where = (one if count == 1 else f"{count} {many}") + (f" of {hosts} hosts" if 1 < hosts < count else "")
    return (
        f"{job.data.note}; {job.learner.size:,} parameters; {job.workers} worker{'s' * (job.workers > 1)} on {where}; "
        f"{blas['name']} {blas['version']} {blas['kernel']}{'; compiled by numba' * (job.backend.name == 'numba')}"
    )
