"""Runs a job on one process: from a request, a job and a transport to a summary and an exit code."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, final

from psgd.config.settings import Settings
from psgd.core.errors import Diverged, StorageError
from psgd.core.files import print_result, to_json
from psgd.data.dataset import Data
from psgd.data.fingerprint import fingerprint
from psgd.group.failure import Agreement, exit_code
from psgd.group.placement import local_rank
from psgd.group.transport import Transport
from psgd.jobs.choose.device import with_device
from psgd.jobs.environment import describe_group
from psgd.jobs.files.run_files import RunFiles
from psgd.jobs.files.summary import rounded
from psgd.jobs.request import RunRequest
from psgd.jobs.trackers.choose import trackers_of
from psgd.training.checkpoints import Saving
from psgd.training.hooks import Hooks
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.metrics import Row
from psgd.training.recorder import Recorder
from psgd.training.signals import CALLBACK_END, Signals, Stopped


class Result(NamedTuple):
    code: int
    summary: dict[str, Any] | None  # on the first process
    directory: Path
    error: Exception | None = None  # the failure that this process reports, unless it was printed or raised
    fitted: bytes = b""  # by psgd.fit on the first process, pickled


@final
class Training:
    """One process's part in a run: trains the job that `build` returns."""

    def __init__(
        self, request: RunRequest, directory: Path, build: Callable[[], Job], transport: Transport, signals: Signals
    ) -> None:
        self._request, self._directory, self._build = request, directory, build
        self.transport, self._signals = transport, signals
        self.agreement = Agreement(transport)
        self._summary: dict[str, Any] | None = None  # on the first process, once the run has ended

    def run(self) -> int:
        """Collective: train to the end, and return 0."""
        request, directory, transport, agreement = self._request, self._directory, self.transport, self.agreement
        # Threads open their devices here, each its own; others have done so before there was a directory.
        job = with_device(agreement.together(self._build), transport, local_rank(transport), agreement)
        label = str(transport.process)
        listener = trackers_of(request.settings, request.config, directory, label)
        lines = list[Row]() if transport.recovers else None  # so that what a lost process did not write is written
        recorder = Recorder(directory, job.sampler.examples, job.epochs, label, request.quiet, lines, listener)
        files = RunFiles(request, directory, job, recorder, describe_group(transport, job))
        try:
            train_job(files, transport, agreement, self._signals)
        finally:
            self._summary = files.summary
            listener.close(files.summary)
        return 0

    def result(self, code: int, error: Exception | None = None) -> Result:
        return Result(code, self._summary, self._directory, error)


RunOnProcess = Callable[[Training], Result]  # the three functions below, which differ in what becomes of errors


def run_printing(training: Training) -> Result:
    """Collective: train, and print errors; every process returns the same code."""
    return training.result(training.agreement.conclude(training.run))


def run_raising(training: Training) -> Result:
    """Collective: train, and raise errors: on the process that failed first its own, on the others Ended. For processes
    that are threads of one."""
    return training.result(training.run())


def run_returning(training: Training) -> Result:
    """Collective: train. The process that reports an error returns it with the exit code; the others return the code.
    For processes whose exceptions the caller cannot receive."""
    try:
        return run_raising(training)
    except Exception as error:
        return training.result(exit_code(error), training.agreement.report(error))


def train_job(
    files: RunFiles,
    transport: Transport,
    agreement: Agreement,
    signals: Signals,
    started: Callable[[Loop], None] = lambda loop: None,
    share: Callable[[], None] = lambda: None,
    fingerprints: Mapping[str, str] | None = None,
) -> Loop:
    """Collective: train the job of `files`, and write these. The first process calls `started` when training begins,
    and so does one that takes its place; all call `share` at the end, which is collective. `fingerprints`: of what must
    be the same when the run is resumed, besides the data. Raises what ends the training early; a run that diverged or
    was stopped has a summary too."""
    job, settings = files.job, files.request.settings

    def begin(resumed: bool) -> None:
        files.started(loop, resumed)
        started(loop)
        if resumed:
            files.say_resumed(loop, ended_by_callback=signals.asked == CALLBACK_END)

    experiment = cache(lambda: _experiment(settings, job.data, fingerprints or {}))
    directory, seconds = files.directory, settings.training.checkpoint_seconds
    saving = Saving(directory, seconds, experiment) if directory else None
    loop = Loop(job, transport, files.recorder, saving, signals=signals, agreement=agreement)
    try:
        loop.run(Hooks(begin, lambda: files.finished(loop), share))
    except (Stopped, Diverged) as error:
        if loop.group.first:
            try:
                files.summarize(loop, "stopped" if isinstance(error, Stopped) else "diverged")
            except StorageError as failure:  # printed, but the job ends with `error` and its exit code
                agreement.log_error(failure)
        raise
    return loop


def _experiment(settings: Settings, data: Data, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """What a checkpoint says about its training, as plain JSON: all settings, and fingerprints of the data and of what
    there is besides. Read by jobs/files/continuing.py."""
    return {"settings": settings.model_dump(mode="json"), "data": {**fingerprint(data), **fingerprints}}


def print_summary(result: Result) -> int:
    """Print the summary to stdout, rounded, and return the exit code. StorageError if stdout cannot be written."""
    if result.summary is not None:
        print_result(to_json(rounded(result.summary), indent=2), "the summary ")
    return result.code
