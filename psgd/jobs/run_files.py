"""What the first process writes about a run when it starts and when it ends."""

from contextlib import suppress
from pathlib import Path
from typing import Any, final

from psgd.backends.blas import kernel_warning
from psgd.core.files import write_json, write_text
from psgd.jobs.environment import environment, mixed_kernels
from psgd.jobs.long_rounds import warnings
from psgd.jobs.request import RunRequest
from psgd.jobs.summary import summarize
from psgd.learners.mlp import MLP
from psgd.learners.model_file import write_model
from psgd.learners.sparse_linear import SparseLinear
from psgd.training.early_stop import Best
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder


@final
class RunFiles:
    """Writes files in the run directory, and prints lines. `processes`: the answer of `describe_group`."""

    def __init__(
        self, request: RunRequest, directory: Path, job: Job, recorder: Recorder, processes: list[dict[str, Any]]
    ) -> None:
        self._request, self._directory, self._job = request, directory, job
        self._recorder, self._processes = recorder, processes
        self.summary: dict[str, Any] | None = None  # once the run has ended

    def started(self, loop: Loop, resumed: bool) -> None:
        """Print what will run, with warnings, and write config.yaml and environment.json. StorageError."""
        say, job = self._recorder.say, self._job
        say(_introduction(job, loop, self._processes))
        if job.sampler.note:
            say(job.sampler.note)
        for warning in (mixed_kernels(self._processes), kernel_warning()):
            if warning:
                say(f"warning: {warning}")
        for warning in warnings(self._request.settings, job):
            say(warning)
        if resumed:
            progress = loop.replica.progress
            say(f"going on from round {progress.round}, epoch {progress.position / job.sampler.examples:.2f}")
        elif self._request.resume:
            say("warning: there is no checkpoint here yet: starting from the beginning")
        with suppress(FileNotFoundError):
            (self._directory / "summary.json").unlink()  # of an earlier end, from which the run goes on now
        write_text(self._directory / "config.yaml", self._request.config)
        write_json(self._directory / "environment.json", environment(self._processes))

    def finished(self, loop: Loop) -> None:
        """Write the model and the summary of a run that was not stopped. StorageError."""
        learner, path = self._job.learner, self._directory / "model.safetensors"
        assert isinstance(learner, MLP | SparseLinear)
        write_model(path, self._request.settings.model, learner, loop.result.parameters, self._job.data)
        progress, early = loop.replica.progress, loop.early_stop
        status = "target-reached" if progress.reached else "done"
        if early.over and not progress.reached and progress.position < self._job.end:
            status = "stopped-early"
        if early.best:
            self._recorder.say(_words_of(early.best, self._job, status))
        self.summarize(loop, status)

    def summarize(self, loop: Loop, status: str) -> None:
        """Write the summary of a run that ended with `status`. StorageError."""
        self.summary = summarize(self._request.settings, loop, self._job.sampler.examples, status)
        write_json(self._directory / "summary.json", self.summary)


def _words_of(best: Best, job: Job, status: str) -> str:
    """Say which evaluation is the result, and why training ended before its last epoch."""
    reason, rule = "", job.early_stop
    if rule and status == "stopped-early":
        times = f"{rule.patience} evaluations" if rule.patience > 1 else "an evaluation"
        more = f" of more than {rule.minimum:g}" if rule.minimum else ""
        reason = f"stopped early, after {times} without an improvement{more}; "
    name = "validation_accuracy" if "validation_accuracy" in best.scores else "validation_loss"
    return (
        f"{reason}the result is the best evaluation, of epoch {best.position / job.sampler.examples:.2f}, round "
        f"{best.round}: {name.replace('_', ' ')} {best.scores[name]:.4f}"
    )


def _introduction(job: Job, loop: Loop, processes: list[dict[str, Any]]) -> str:
    transport, blas = loop.group.transport, processes[0]["blas"]
    count, hosts = len(transport.members), len(set(transport.hosts))
    nouns = {"serial": ("process", "es"), "threads": ("thread", "s"), "ray": ("Ray actor", "s")}
    noun, ending = nouns.get(transport.kind, ("MPI process", "es"))
    where = f"one {noun}" if count == 1 else f"{count} {noun}{ending}"
    where += f" of {hosts} hosts" if 1 < hosts < count else ""
    compiled = job.backend.name == "numba"
    return (
        f"{job.data.note}; {job.learner.size:,} parameters; {job.workers} worker{'s' * (job.workers > 1)} on {where}; "
        f"{blas['name']} {blas['version']} {blas['kernel']}{'; compiled by numba' * compiled}"
    )
