"""Runs a job on one process: from a request, a job and a transport to a summary and an exit code."""

from collections.abc import Callable
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
        saving = request.settings.training.checkpoint_seconds
        loop = Loop(
            *(job, transport, recorder, directory, saving),
            signals=signals,
            started=files.started,
            agreement=agreement,
            experiment=cache(lambda: experiment(request.settings, job.data)),
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
        finally:
            summary = files.summary
        return 0

    return Result(agreement.conclude(train), summary)


def print_summary(result: Result) -> int:
    """Print the summary to stdout and return the exit code. StorageError if stdout cannot be written."""
    if result.summary is not None:
        print_result(to_json(result.summary, indent=2), "the summary ")
    return result.code
