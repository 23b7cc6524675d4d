"""What the first process writes about a run when it starts and when it ends."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import numpy as np

from psgd.backends.blas import kernel_warning
from psgd.config.settings import Settings
from psgd.core.files import write_json, write_text
from psgd.core.wording import counted
from psgd.jobs.environment import environment, mixed_devices, mixed_kernels
from psgd.jobs.files.summary import summarize
from psgd.jobs.request import RunRequest
from psgd.learners.mlp import MLP
from psgd.learners.model_file import write_model, write_parameters
from psgd.learners.sparse_linear import SparseLinear
from psgd.learners.user_function import UserFunction
from psgd.training.early_stop import Best
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

# Why a resumed run trains nothing, by its status.
_REASONS = {
    "done": "and training.epochs is {epochs:g}",
    "target-reached": "where training.target was reached",
    "stopped-early": "where training.early_stop ended it",
}


@final
class RunFiles:
    """Writes files in the run directory, if there is one, and prints lines. `processes`: the answer of
    `describe_group`; `say`: what prints a line, the recorder if not given."""

    def __init__(
        self,
        request: RunRequest,
        directory: Path | None,
        job: Job,
        recorder: Recorder,
        processes: list[dict[str, Any]],
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.request, self.directory, self.job, self.recorder = request, directory, job, recorder
        self._say, self._processes = say or recorder.say, processes
        self.summary: dict[str, Any] | None = None  # once the run has ended

    def started(self, loop: Loop, resumed: bool) -> None:
        """Print what will run, with warnings, and write config.yaml and environment.json. StorageError."""
        say, job = self._say, self.job
        say(_introduction(job, loop, self._processes, self.request.settings.device == "auto"))
        if job.sampler.note:
            say(job.sampler.note)
        for warning in (mixed_kernels(self._processes), kernel_warning(), mixed_devices(self._processes)):
            if warning:
                say(f"warning: {warning}")
        for warning in _long_rounds(self.request.settings, job):
            say(warning)
        if self.request.options.resume and not resumed:
            say("warning: there is no checkpoint here yet: starting from the beginning")
        if self.directory is None:
            return
        with suppress(FileNotFoundError):
            (self.directory / "summary.json").unlink()  # of an earlier end, from which the run goes on now
        write_text(self.directory / "config.yaml", self.request.config)
        write_json(self.directory / "environment.json", environment(self._processes))

    def say_resumed(self, loop: Loop, ended_by_callback: bool) -> None:
        """Say where a resumed run goes on, or why it does not: `ended_by_callback`, or it had ended before."""
        progress = loop.replica.progress
        epoch = f"epoch {progress.position / self.job.sampler.examples:.2f}"
        if ended_by_callback or loop.finished:
            reason = "where callback ends it" if ended_by_callback else _REASONS[_status(loop, self.job)]
            self._say(f"already at {epoch}, {reason.format(epochs=self.job.epochs)}: nothing to train")
        else:
            self._say(f"going on from round {progress.round}, {epoch}")

    def finished(self, loop: Loop) -> None:
        """Write the model and the summary of a run that was not stopped. StorageError."""
        self.recorder.flush()
        if self.directory:
            self._write_model(self.directory / "model.safetensors", loop.result.parameters)
        status = _status(loop, self.job)
        if loop.early_stop.best:
            self._say(_words_of(loop.early_stop.best, self.job, status))
        self.summarize(loop, status)

    def _write_model(self, path: Path, parameters: np.ndarray) -> None:
        learner = self.job.learner
        if isinstance(learner, UserFunction):
            write_parameters(path, learner.structure, parameters)
        else:
            assert isinstance(learner, MLP | SparseLinear)
            write_model(path, self.request.settings.model, learner, parameters, self.job.data)

    def summarize(self, loop: Loop, status: str) -> None:
        """Write the summary of a run that ended with `status`. StorageError."""
        examples = self.job.sampler.examples
        self.summary = summarize(self.request.settings, loop, examples, status, self._processes)
        if self.directory:
            self.recorder.flush()
            write_json(self.directory / "summary.json", self.summary)


def _status(loop: Loop, job: Job) -> str:
    """How a training ended that was not stopped from outside."""
    progress = loop.replica.progress
    if loop.ended_by_callback:
        return "stopped-by-callback"
    if progress.reached:
        return "target-reached"
    return "stopped-early" if loop.early_stop.over and progress.position < job.end else "done"


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


def _introduction(job: Job, loop: Loop, processes: list[dict[str, Any]], chosen: bool) -> str:
    """`chosen`: the device was left to psgd."""
    transport, blas = loop.group.transport, processes[0]["blas"]
    count, hosts = len(transport.members), len(set(transport.hosts))
    nouns = {"serial": ("process", "es"), "threads": ("thread", "s"), "ray": ("Ray actor", "s")}
    noun, ending = nouns.get(transport.kind, ("MPI process", "es"))
    where = f"one {noun}" if count == 1 else f"{count} {noun}{ending}"
    where += f" of {hosts} hosts" if 1 < hosts < count else ""
    where += ", which go on if one is lost" if transport.recovers and count > 1 else ""
    compiled = job.backend.name == "numba" and not job.device
    gpus = sorted({process["device"] for process in processes} - {"cpu"})
    return (
        f"{job.data.note}; {job.learner.size:,} parameters; {counted(job.workers, 'worker')} on {where}; "
        f"{blas['name']} {blas['version']} {blas['kernel']}{'; compiled by numba' * compiled}"
        + "".join(f"; {gpu}" for gpu in gpus)
        + " (device: cpu trains on the CPU)" * (chosen and bool(gpus))
    )


def _long_rounds(settings: Settings, job: Job) -> list[str]:
    """Warnings of rounds and steps that deal more examples than the training or an epoch has, each with advice in the
    words of a config: training ends with a whole round."""
    found, period = [], "" if settings.averaging is None else "strategy.period, "
    examples = sum(job.strategy.plan.steps(0)) * job.batch
    if examples >= 2 * job.end:
        found.append(
            f"warning: a round deals {examples} examples, more than the {job.end} of training.epochs; lower {period}"
            "training.batch_size_per_worker or workers, or raise training.epochs"
        )
    together, epoch = job.workers * job.batch, job.sampler.examples
    if together > epoch:
        found.append(
            f"warning: a step of all workers uses {together} examples, more than the {epoch} of an epoch: it counts as "
            "several; lower training.batch_size_per_worker or workers"
        )
    return found
