"""One process's session of `psgd.fit`: from a task and a transport to a result, alone, on threads or with MPI."""

import json
import sys
import traceback
from dataclasses import dataclass
from typing import Any, final

from psgd.core.errors import PsgdError, UsageError
from psgd.group import mpi
from psgd.group.failure import Ended
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.jobs.choose_group import thread_count
from psgd.jobs.fit.task import Task
from psgd.jobs.summary import summarize
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """What training gives, the same on every process."""

    parameters: Any  # arrays of your own, in the structure that you gave
    summary: dict[str, Any]  # as in summary.json: parameters_sha256, train_seconds, ...
    first: bool  # whether this process is the one to print and save, where there are several


@final
class Session:
    """One process's part."""

    def __init__(self, task: Task, transport: Transport, signals: Signals) -> None:
        job = task.job()
        self._task = task
        self._examples = job.sampler.examples
        self._record = Recorder(None, self._examples, job.epochs, str(transport.process), not task.progress)
        self.loop = Loop(job, transport, self._record, signals=signals)

    def run(self, threads: int | None) -> Fitted:
        """Collective."""
        transport = self.loop.group.transport
        if self._task.progress:
            self._record.say(
                f"{self._task.data.note}; {self._task.structure.size:,} parameters; {self._task.settings.workers} "
                f"workers on {len(transport.members)} {transport.kind} process{'es' * (len(transport.members) > 1)}"
            )
        replica = self.loop.run()
        summary = summarize(self._task.settings, self.loop, self._examples, "done")
        summary["blas_threads"] = threads  # before they were limited to one
        return Fitted(self._task.structure.copies(replica.parameters), summary, self.loop.group.first)


def fit_with_threads(task: Task, signals: Signals, threads: int | None) -> Fitted:
    """`threads`: those that BLAS had, not those that train."""

    def main(transport: Transport) -> Fitted | None:
        try:
            return Session(task, transport, signals).run(threads)
        except Ended:  # the thread that failed says why
            return None

    try:
        results = run_threads(thread_count(task.settings), task.settings.cluster.patience, main)
    except KeyboardInterrupt:
        signals.asked = 2  # the threads end at their next meeting
        raise
    fitted: Fitted = results[0]
    return fitted


def fit_with_mpi(task: Task | None, failure: Exception | None, threads: int | None, note: str | None) -> Fitted:
    """Collective. What goes wrong is raised by one process, which says it; the others leave silently."""
    patience = task.settings.cluster.patience if task else 300.0
    transport = mpi.Mpi(patience, task.job().vectors.shared_bytes if task else 0)
    session: Session | None = None
    try:
        _agree(transport, task, failure)
        assert task
        if note and transport.process == 0:
            print(note, file=sys.stderr, flush=True)
        session = Session(task, transport, Signals())
        fitted = session.run(threads)
        summary = _first_one(transport, fitted.summary)
    except Ended:
        transport.close()
        raise SystemExit(1) from None
    except BaseException as error:
        if error is failure or (session and error is session.loop.agreement.failure):
            transport.close()  # the others know, and are there
            raise
        if isinstance(error, PsgdError):  # all found the same
            transport.close()
            if session is None or session.loop.group.first:
                raise
            raise SystemExit(1) from None
        traceback.print_exc()  # between two meetings: the others wait for this process and cannot be told
        sys.stderr.flush()
        transport.abort(1)
    transport.close()
    return Fitted(fitted.parameters, summary, fitted.first)


def _agree(transport: Transport, task: Task | None, failure: Exception | None) -> None:
    """Collective: go on only if everyone was given the same, which can be."""
    parts = task.digests() if task else [bytes(32)] * 3
    rows = transport.all_gather(bytes([failure is not None]) + b"".join(parts))
    failed = [process for process, row in enumerate(rows) if row[0]]
    if failed and failed[0] == transport.process:
        assert failure
        raise failure
    if failed:
        raise Ended(1)
    for number, what in enumerate(("initial parameters", "data", "settings")):
        seen = [row[1 + 32 * number : 33 + 32 * number] for row in rows]
        odd = [str(process) for process, digest in enumerate(seen) if digest != seen[0]]
        if odd and transport.process:
            raise Ended(1)
        if odd:
            raise UsageError(
                f"process {', '.join(odd)} called psgd.fit with other {what} than process 0; all must give the same: "
                "draw random numbers from a fixed seed, np.random.default_rng(0)"
            )


def _first_one(transport: Transport, summary: dict[str, Any]) -> dict[str, Any]:
    """Collective: the first process's, since clocks differ. Rows must be equally long."""
    text = json.dumps(summary).encode()
    longest = max(int.from_bytes(row, "little") for row in transport.all_gather(len(text).to_bytes(8, "little")))
    first: dict[str, Any] = json.loads(transport.all_gather(text.ljust(longest))[0])
    return first
