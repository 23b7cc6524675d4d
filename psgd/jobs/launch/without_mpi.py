"""Launches a job that no MPI launcher started: in this process, on threads, on Ray, or as a single MPI process."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from psgd.group.failure import Agreement
from psgd.group.serial import Serial
from psgd.jobs.prepare import read_request
from psgd.jobs.request import RunRequest, parse_arguments
from psgd.training.signals import Signals

if TYPE_CHECKING:
    from psgd.jobs.process import Result, RunOnProcess


def launch(arguments: list[str] | None, signals: Signals) -> int:
    """Run a job to its end and print the summary; returns the exit code. `signals`: which end the process at once."""
    options = parse_arguments(arguments)
    request = read_request(options, 1)
    if request is None:
        return 0
    if request.settings.group == "mpi":
        from psgd.group.mpi.world import World
        from psgd.jobs.launch.mpi import run_with_mpi

        world = World()
        signals.listen()  # again, because MPI installs its own handlers
        return run_with_mpi(request, world, Agreement(world), signals)
    from psgd.jobs.process import print_summary, run_printing

    def listening() -> AbstractContextManager[None]:
        signals.listen()
        return nullcontext()  # to the end of the process

    return print_summary(run_without_mpi(request, signals, listening, run_printing, run_printing))


def run_without_mpi(
    request: RunRequest,
    signals: Signals,
    listening: Callable[[], AbstractContextManager[None]],
    run: "RunOnProcess",
    run_on_actor: "RunOnProcess",
) -> "Result":
    """Run a job in this process, on threads or on Ray, as the settings say; returns the first process's result.
    `listening`: installs handlers of signals, as soon as there may be a run directory, in which they save a checkpoint.
    `run` is for this process and its threads, `run_on_actor` for actors of Ray."""
    # Imported here because they import numpy, which a dry run does without.
    from psgd.data.sources.load import load_data
    from psgd.group.transport import Transport
    from psgd.jobs.build import build_job
    from psgd.jobs.choose.device import with_device
    from psgd.jobs.environment import limit_blas
    from psgd.jobs.files.open_directory import opened_directory
    from psgd.jobs.launch.in_process import run_in_process
    from psgd.jobs.process import Training
    from psgd.training.job import Job

    settings = request.settings
    first = build_job(settings, load_data(settings))
    if settings.group == "serial":  # before there is a directory: the device may be refused
        first = with_device(first, Serial(), 0, Agreement(Serial()))
    opened = partial(opened_directory, request, first.data)

    with listening():
        if settings.group == "ray":
            from psgd.jobs.launch.ray import run_on_ray, train_on_actor

            limit_blas()
            work = partial(train_on_actor, run_on_actor, request)
            return run_on_ray(settings, first.open_device is not None, opened, signals, work)
        with opened() as directory:
            limit_blas()

            def act(transport: Transport, build: Callable[[], Job]) -> "Result":
                return run(Training(request, directory, build, transport, signals))

            return run_in_process(settings, first, lambda: build_job(settings, first.data), act, signals)
