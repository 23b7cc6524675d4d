"""Runs a job on one process: from a request, a job and a transport to a summary and an exit code."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from psgd.core.errors import Diverged, StorageError
from psgd.core.files import print_result, to_json
from psgd.group.failure import Agreement
from psgd.group.transport import Transport
from psgd.jobs.environment import describe_group
from psgd.jobs.experiment import experiment
from psgd.jobs.request import RunRequest
from psgd.jobs.run_files import RunFiles
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals, Stopped


class Result(NamedTuple):
    code: int
    summary: dict[str, Any] | None  # on the first process


def run_session(
    request: RunRequest, directory: Path, build: Callable[[], Job], transport: Transport, signals: Signals
) -> Result:
    """Collective: train the job that `build` returns. Prints errors; every process returns the same code."""
    agreement, summary = Agreement(transport), None

    def train() -> int:
        nonlocal summary
        job = agreement.together(build)
        recorder = Recorder(directory, job.sampler.examples, job.epochs, str(transport.process), request.quiet)
        files = RunFiles(request, directory, job, recorder, describe_group(transport))
        try:
            train_job(job, recorder, files, transport, agreement, signals)
        finally:
            summary = files.summary
        return 0

    return Result(agreement.conclude(train), summary)


def train_job(
    job: Job,
    recorder: Recorder,
    files: RunFiles,
    transport: Transport,
    agreement: Agreement,
    signals: Signals,
    started: Callable[[Loop], None] = lambda loop: None,
    more: Mapping[str, str] | None = None,
) -> Loop:
    """Collective: train to the end, with the files of the run. The first process calls `started` when training begins.
    `more`: fingerprints of what must be the same when the run is resumed, besides the data. Raises what ends the
    training early; of a run that diverged or was stopped, there is a summary too."""
    settings = files.request.settings

    def begin(loop: Loop, resumed: bool) -> None:
        files.started(loop, resumed)
        started(loop)

    loop = Loop(
        *(job, transport, recorder, files.directory, settings.training.checkpoint_seconds),
        signals=signals,
        started=begin,
        agreement=agreement,
        experiment=cache(lambda: experiment(settings, job.data, more or {})),
    )
    try:
        loop.run(files.finished)
    except (Stopped, Diverged) as error:
        if loop.group.first:
            try:
                files.summarize(loop, "stopped" if isinstance(error, Stopped) else "diverged")
            except StorageError as failure:  # printed, but the job ends with `error` and its exit code
                agreement.complain(failure)
        raise
    return loop


def print_summary(result: Result) -> int:
    """Print the summary to stdout and return the exit code. StorageError if stdout cannot be written."""
    if result.summary is not None:
        print_result(to_json(result.summary, indent=2), "the summary ")
    return result.code
