"""Launches a job on Ray: the driver connects to a cluster, or starts Ray here, and each actor is one process."""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import psgd
from psgd.backends.blas import VARIABLES, limit_after_numpy
from psgd.config.settings import Settings
from psgd.core.errors import ProcessLost, PsgdError, UsageError
from psgd.data.sources.load import load_data
from psgd.group.ray.actors import run_actors
from psgd.group.ray.connection import connected
from psgd.group.ray.resources import free, share, total
from psgd.group.ray.transport import Ray
from psgd.jobs.build import build_job
from psgd.jobs.choose.gpus import no_gpu
from psgd.jobs.choose.group import thread_count
from psgd.jobs.process import Result, RunOnProcess, Training
from psgd.jobs.request import RunRequest
from psgd.training.job import Job
from psgd.training.signals import Signals, exit_code_of

# Environment variables of the driver that actors need: they affect bits, or where data are looked for.
PASSED_ON = ("OPENBLAS_CORETYPE", "PSGD_DATA", "XDG_CACHE_HOME")


Work = Callable[[Ray, Path, Signals], Result]  # what an actor does with its transport and the run directory


def run_on_ray(
    settings: Settings,
    on_gpus: bool,
    opened: Callable[[], AbstractContextManager[Path]],
    signals: Signals | None,
    work: Work,
    answer: Callable[[Any], Any] | None = None,
) -> Result:
    """Run `work` on actors and return the result with the summary. Raises the error that a process reports. The run
    directory is opened once Ray is connected. `on_gpus`: whether GPUs can train it, if Ray has them. `signals`: which
    stop the job with a checkpoint, if it has one. `answer`: called here, with what an actor asks. UsageError if Ray
    cannot be reached, or lacks CPUs or the GPU that is wanted, ProcessLost if actors were lost and the others could not
    go on."""
    directory = Path()

    def asked() -> int:
        return signals.asked if signals else 0

    try:
        with connected(thread_count(settings)):
            if signals:
                signals.listen()  # after connecting, because Ray installs its own handlers
            gpus = _gpus(settings) if on_gpus else 0
            patience, processes = settings.cluster.patience, _processes(settings, gpus)
            with opened() as directory:
                act = partial(_run_on_actor, work, directory, os.getcwd())
                ended = run_actors(processes, patience, _variables(), act, asked, share(processes, gpus), answer)
    except SystemExit as aborted:  # an actor aborted, after it reported why
        if not isinstance(aborted.code, int):
            raise  # the caller's function left, maybe with a message
        return Result(aborted.code, None, directory)
    except KeyboardInterrupt:  # before the actors ran
        return Result(exit_code_of(asked() or signal.SIGINT), None, directory)
    result = _result([result for result in ended if result], losses=None in ended)
    if result.error:  # raised here, where signals are still listened to: Stopped says that one was obeyed
        raise result.error
    return result


def _result(results: Sequence[Result], losses: bool) -> Result:
    """The job's result, from those of the actors that were not lost."""
    if len({result.code for result in results}) > 1:
        raise PsgdError(f"the processes ended with unlike codes: {[result.code for result in results]}")
    error = next((result.error for result in results if result.error), None)
    summarized = next((result for result in results if result.summary), None)
    explained = any(result.code not in (0, ProcessLost.code) for result in results)  # it ended for another reason
    if losses and not (summarized or explained):
        raise ProcessLost("there is no result, since processes were lost; continue with --resume")
    return (summarized or results[0])._replace(error=error)


def train_on_actor(run: RunOnProcess, request: RunRequest, transport: Ray, directory: Path, signals: Signals) -> Result:
    """The work of the command: train the job of a request, whose data each actor reads."""
    settings = request.settings

    def build() -> Job:
        return build_job(settings, load_data(settings))

    return run(Training(request, directory, build, transport, signals))


def _run_on_actor(work: Work, directory: Path, working_directory: str, transport: Ray) -> Result:
    """What one actor runs."""
    limit_after_numpy()
    # The paths of data are relative to the driver's working directory, which another host may not have.
    with contextlib.suppress(OSError):
        os.chdir(working_directory)
    signals = Signals()

    def on_signal(number: int) -> None:
        signals.asked = signals.asked or number

    transport.on_signal = on_signal
    return work(transport, directory, signals)


def _gpus(settings: Settings) -> int:
    """The GPUs of Ray. UsageError if device is cuda and there are none."""
    gpus = total("GPU")
    if settings.device == "cuda" and not gpus:
        raise no_gpu("Ray counts no GPU on its machines")
    return gpus


def _processes(settings: Settings, gpus: int) -> int:
    """The number of actors: cluster.processes, or one for each worker while there are free CPUs, and if there are
    `gpus`, free GPUs."""
    asked, cpus = settings.cluster.processes, total("CPU")
    if asked and asked > cpus:
        raise UsageError(f"cluster.processes is {asked}, but Ray has {cpus} CPUs, and each process takes one")
    if asked:
        return asked
    most = free("CPU", min(settings.worker_count, cpus))
    if gpus:
        most = min(most, free("GPU", min(settings.worker_count, gpus)))
    return max(1, min(settings.worker_count, most))


def _variables() -> dict[str, str]:
    """The environment of the actors: one BLAS thread, and a PYTHONPATH with this psgd."""
    variables = dict.fromkeys(VARIABLES, "1") | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    paths = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    root = Path(psgd.__file__).resolve().parent.parent
    if not {"site-packages", "dist-packages"} & set(root.parts):  # a checkout, which is not on the actors' path
        paths.insert(0, str(root))
    return variables | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})
