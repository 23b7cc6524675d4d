"""Runs a call of `psgd.fit` in one process, on threads or with MPI."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from psgd.core.errors import INTERRUPTED, Diverged, UsageError
from psgd.core.log import LOG, first_time, say_once
from psgd.data.dataset import Data
from psgd.data.user_arrays import UserArrays
from psgd.group.failure import Agreement
from psgd.group.mpi.open_transport import open_transport
from psgd.group.mpi.world import DEFAULT_PATIENCE, World
from psgd.group.transport import Transport, all_gather_json
from psgd.jobs.environment import describe_group
from psgd.jobs.files.locks import share_lock, unlock
from psgd.jobs.files.run_files import RunFiles
from psgd.jobs.fit.advice import DOUBT
from psgd.jobs.fit.callback import Callback, Function
from psgd.jobs.fit.directory import open_run
from psgd.jobs.fit.settings import in_words_of_fit
from psgd.jobs.fit.task import Task
from psgd.jobs.launch.in_process import run_in_process
from psgd.jobs.process import train_job
from psgd.jobs.request import RunRequest
from psgd.learners.user_function import UserFunction
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.metrics import Row
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals, Stopped


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

    def __repr__(self) -> str:
        """In short: at a prompt, all parameters and lines would bury everything else."""
        said = self.summary
        ended = f"{said['status']} after {said['rounds']} rounds, {said['epochs']:.4g} epochs"
        return f"<psgd.Fitted: {ended}, {said['train_seconds']:.3g} s; .parameters, .summary, .history, .first>"


class FitCall(NamedTuple):
    """All that a process needs to know about a call."""

    task: Task
    request: RunRequest
    callback: Function | None
    threads: int | None  # of BLAS, before it was limited to one
    job: Job  # of this process; further threads build their own


def fit_in_process(call: FitCall) -> Fitted:
    """Train in one process, or on threads."""
    signals, directory = Signals(), open_run(call.request, call.task)
    try:
        with signals.listening() if directory else nullcontext():

            def act(transport: Transport, build: Callable[[], Job]) -> Fitted:
                return _fit_on(transport, call, build(), directory, signals)

            return run_in_process(call.task.settings, call.job, call.task.job, act, signals)
    except Stopped as stopped:
        raise exception_after(stopped, True) from None


def _fit_on(
    transport: Transport,
    call: FitCall,
    job: Job,
    directory: Path | None,
    signals: Signals,
    agreement: Agreement | None = None,
) -> Fitted:
    """Collective: train on one process or thread; at the end, unlock the directory."""
    try:
        return train(transport, call, job, directory, signals, agreement or Agreement(transport))
    finally:  # of this thread: after a second Ctrl-C, the caller does not wait for it
        if directory and (transport.process == 0 or transport.recovers):
            unlock(directory)


def train(
    transport: Transport, call: FitCall, job: Job, directory: Path | None, signals: Signals, agreement: Agreement
) -> Fitted:
    """Collective: train on one process, thread or actor."""
    task, learner, history = call.task, job.learner, list[Row]()
    assert isinstance(learner, UserFunction)
    label, quiet = str(transport.process), not task.progress
    callback = Callback(call.callback, task.structure, signals) if call.callback else None
    recorder = Recorder(
        directory, job.sampler.examples, job.epochs, label, quiet, history, callback, lambda: learner.returns_loss
    )

    def say(text: str) -> None:
        """Say how training begins; without `progress` and a run directory, only what it warns of."""
        text = in_words_of_fit(text)
        if task.progress:
            recorder.say(text)
        elif recorder.writes and text.startswith("warning:"):
            LOG.warning("psgd: %s", text)
        elif recorder.writes and directory:
            LOG.info("[%s] %s", label, text)

    def started(loop: Loop) -> None:
        if callback:
            callback.begin(loop, history)

    files = RunFiles(call.request, directory, job, recorder, describe_group(transport, job), say)
    ended: dict[str, Any] = {}

    def share() -> None:
        """Give all processes the summary and history of the first, since clocks differ. While training still recovers
        from losses, since the first may be lost."""
        own = {"summary": {**(files.summary or {}), "blas_threads": call.threads}, "history": _shown(history)}
        ended.update(all_gather_json(transport, own)[0])

    try:
        loop = train_job(files, transport, agreement, signals, started, share, task.fingerprints())
    except Diverged as error:
        error.args = (f"{error}{_nonfinite_data(task.data)}",)
        raise
    losses = [row["loss"] for row in ended["history"] if row.get("loss") is not None]
    if losses and files.summary:
        seconds = ended["summary"]["train_seconds"]
        recorder.say(f"{seconds:.1f} s; loss {losses[0]:.4f} at first, {losses[-1]:.4f} at last")
    return Fitted(task.structure.copies(loop.replica.parameters), **ended, first=loop.group.first)


def _shown(history: list[Row]) -> list[Row]:
    """The lines that say something, without losses if there are none."""
    lines = [row for row in history if "weights" in row or "test_loss" in row or "validation_loss" in row]
    has_loss = any(row.get("loss") is not None for row in lines)
    return [{key: value for key, value in row.items() if has_loss or key != "loss"} for row in lines]


def _nonfinite_data(data: Data) -> str:
    """Say whether numbers of the user's data are not finite, a likelier reason for a divergence than others."""
    assert isinstance(data.train, UserArrays)
    for letter, array in (("X", data.train.X), ("y", data.train.y)):
        if array.dtype.kind == "f" and (count := int(np.count_nonzero(~np.isfinite(array)))):
            return f". But first look at {letter} of dataset: {count} numbers of it are nan or infinite"
    return ""


def fit_with_mpi(call: FitCall | None, failure: Exception | None, note: str | None, doubted: str | None) -> Fitted:
    """Collective: train on all processes. `failure`: why this process cannot; one process raises its own, the others
    raise SystemExit(1). `note`: to be said once; `doubted`, too, if there are several processes."""
    world = World()
    patience = call.task.settings.cluster.patience if call else DEFAULT_PATIENCE
    transport = open_transport(world, patience)
    agreement = Agreement(transport)
    agreement.failure = failure
    first, signals = transport.process == 0, Signals()
    try:
        agreement.check()
        assert call
        _check_same(transport, call.task)
        if note and first:
            say_once(note)
        if doubted and first and len(transport.members) > 1 and first_time(DOUBT):
            LOG.info(doubted)
        opened = agreement.together(lambda: open_run(call.request, call.task) if first else None)
        name = all_gather_json(transport, {"directory": str(opened) if opened else None})[0]["directory"]
        with signals.listening() if name else nullcontext():  # from here on, after MPI has installed handlers
            if name and transport.recovers:  # then the first process may be lost, and the others go on
                agreement.together(lambda: share_lock(Path(name)))
            return _fit_on(transport, call, call.job, Path(name) if name else None, signals, agreement)
    except Stopped as stopped:
        raise exception_after(stopped, transport.process == transport.members[0]) from None
    except BaseException as error:
        agreement.abort_unless_shared(error)
        if agreement.must_report(error):
            raise
        raise SystemExit(1) from None
    finally:
        transport.close()
        world.close()


def exception_after(stopped: Stopped, reports: bool) -> BaseException:
    """What a call raises after a signal: KeyboardInterrupt or SystemExit. `reports`: this process says what it was."""
    if reports:
        LOG.error(
            "psgd: stopped by signal %s; a checkpoint is in %s: the same call with resume=True goes on from it",
            stopped.number,
            stopped.where,
        )
    interrupted = stopped.code == INTERRUPTED and reports  # one of several processes prints a traceback
    return KeyboardInterrupt() if interrupted else SystemExit(stopped.code)


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
