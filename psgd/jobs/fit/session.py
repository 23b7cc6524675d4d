"""Runs a call of `psgd.fit` in one process, on threads or with MPI."""

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from psgd.core.errors import Diverged, UsageError
from psgd.core.log import LOG
from psgd.data.dataset import Data
from psgd.data.user_arrays import UserArrays
from psgd.group.failure import Agreement, Ended
from psgd.group.mpi import Mpi
from psgd.group.mpi_world import DEFAULT_PATIENCE, World
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.jobs.auto_group import thread_count
from psgd.jobs.environment import all_gather_json
from psgd.jobs.fit.settings import in_words_of_fit
from psgd.jobs.fit.task import Task
from psgd.jobs.long_rounds import warnings
from psgd.jobs.summary import summarize
from psgd.learners.user_function import UserFunction
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """The result of training, the same on every process."""

    parameters: Any  # new arrays, in the structure that was given
    summary: dict[str, Any]  # as in summary.json: parameters_sha256, train_seconds, ...
    # The lines of metrics.jsonl: plain dicts of round, epoch, examples, seconds and loss, or of these and test_loss; at
    # most a hundred an epoch and a thousand in all. pandas.DataFrame(history) is a table of them.
    history: list[dict[str, Any]]
    first: bool  # whether this process should print and save, if there are several


def fit_on(
    transport: Transport,
    task: Task,
    job: Job,
    threads: int | None,
    signals: Signals | None = None,
    agreement: Agreement | None = None,
) -> Fitted:
    """Collective: train on one process or thread. `threads`: of BLAS, before it was limited to one."""
    examples, processes = job.sampler.examples, len(transport.members)
    history: list[dict[str, Any]] = []
    recorder = Recorder(None, examples, job.epochs, str(transport.process), not task.progress, history)
    loop = Loop(job, transport, recorder, signals=signals, agreement=agreement)
    recorder.say(
        f"{task.data.note}; {task.structure.size:,} parameters; {job.workers} workers on {processes} "
        f"{transport.kind} process{'es' * (processes > 1)}"
    )
    if loop.group.first:
        for warning in warnings(task.settings, job):
            LOG.warning("psgd: %s", in_words_of_fit(warning))
    try:
        replica = loop.run()
    except Diverged as error:
        error.args = (f"{error}{_holes(task.data)}",)
        raise
    summary = {**summarize(task.settings, loop, examples, "done"), "blas_threads": threads}
    losses = [row["loss"] for row in history if row.get("loss") is not None]
    if isinstance(job.learner, UserFunction) and not job.learner.returns_loss:
        for row in history:
            row.pop("loss", None)
    elif losses:
        recorder.say(f"{summary['train_seconds']:.1f} s; loss {losses[0]:.4f} at first, {losses[-1]:.4f} at last")
    told = [row for row in history if "weights" in row or "test_loss" in row or "validation_loss" in row]
    return Fitted(task.structure.copies(replica.parameters), summary, told, loop.group.first)


def _holes(data: Data) -> str:
    """Say whether numbers of the user's data are not finite, a likelier reason for a divergence than others."""
    assert isinstance(data.train, UserArrays)
    for letter, array in (("X", data.train.X), ("y", data.train.y)):
        if array.dtype.kind == "f" and (count := int(np.count_nonzero(~np.isfinite(array)))):
            return f". But first look at {letter} of dataset: {count} numbers of it are nan or infinite"
    return ""


def fit_with_threads(task: Task, job: Job, threads: int | None) -> Fitted:
    signals = Signals()

    def main(transport: Transport) -> Fitted | None:
        try:
            own = job if transport.process == 0 else task.job()  # each thread has its own learner
            return fit_on(transport, task, own, threads, signals)
        except Ended:  # the thread that failed raises
            return None

    try:
        results = run_threads(thread_count(task.settings), task.settings.cluster.patience, main)
    except KeyboardInterrupt:
        signals.asked = 2  # SIGINT: the threads end at their next exchange
        raise
    fitted: Fitted = results[0]
    return fitted


def fit_with_mpi(
    built: tuple[Task, Job] | None, failure: Exception | None, threads: int | None, note: str | None
) -> Fitted:
    """Collective: train what was built on all processes. `failure`: the reason why nothing was built here; one process
    raises it, the others raise SystemExit(1)."""
    world = World()
    patience = built[0].settings.cluster.patience if built else DEFAULT_PATIENCE
    transport = Mpi(world, patience, built[1].vectors.shared_bytes if built else 0)
    agreement = Agreement(transport)
    agreement.failure = failure
    try:
        agreement.check()
        assert built
        task, job = built
        _check_same(transport, task)
        if note and transport.process == 0:
            LOG.info(note)
        fitted = fit_on(transport, task, job, threads, agreement=agreement)
        same = all_gather_json(transport, {"summary": fitted.summary, "history": fitted.history})[0]
        return replace(fitted, **same)  # of the first process, since clocks differ
    except BaseException as error:
        agreement.abort_unless_shared(error)
        if agreement.reports(error):
            raise
        raise SystemExit(1) from None
    finally:
        transport.close()
        world.close()


def _check_same(transport: Transport, task: Task) -> None:
    """Collective: UsageError on all processes unless all called `psgd.fit` with equal arguments."""
    rows = transport.all_gather(b"".join(task.digests()))
    for number, what in enumerate(("initial parameters", "data", "settings")):
        seen = [row[32 * number : 32 * (number + 1)] for row in rows]
        odd = [str(process) for process, digest in enumerate(seen) if digest != seen[0]]
        if odd:
            raise UsageError(
                f"process {', '.join(odd)} called psgd.fit with other {what} than process 0; all must give the same: "
                "draw random numbers from a fixed seed, np.random.default_rng(0)"
            )
