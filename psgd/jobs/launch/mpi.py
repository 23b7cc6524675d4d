"""Launches a job whose processes mpirun (or another MPI launcher) started."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from psgd.data.dataset import Data
from psgd.data.sources.load import load_data
from psgd.group.failure import Agreement
from psgd.group.mpi.open_transport import open_transport
from psgd.group.mpi.world import DEFAULT_PATIENCE, World
from psgd.jobs.build import build_job
from psgd.jobs.choose.device import with_device
from psgd.jobs.environment import limit_blas
from psgd.jobs.files.locks import share_lock
from psgd.jobs.process import Training, print_summary, run_printing
from psgd.jobs.request import RunRequest, parse_arguments
from psgd.training.signals import Signals, Stopped

T = TypeVar("T")


def launch(arguments: list[str] | None, signals: Signals) -> int:
    """Collective: run a job to its end; returns the exit code, the same on all processes."""
    world = World(_given_patience(sys.argv[1:] if arguments is None else arguments))
    signals.listen()  # again, because MPI installs its own handlers
    agreement = Agreement(world)
    code = agreement.conclude(lambda: _read_and_run(arguments, world, agreement, signals))
    world.close()
    return code


def _given_patience(arguments: list[str]) -> float:
    """`cluster.patience` of the command line, since processes may have to wait before the config has been read."""
    for argument in reversed(arguments):
        with suppress(ValueError):
            if argument.startswith("cluster.patience=") and (patience := float(argument.split("=")[1])) > 0:
                return patience
    return DEFAULT_PATIENCE


def _read_and_run(arguments: list[str] | None, world: World, agreement: Agreement, signals: Signals) -> int:
    options = agreement.attempt(lambda: parse_arguments(arguments), None)
    if options and options.dry_run and world.process:
        os.nice(19)  # the first process measures this machine, while MPI makes the others wait busily

    def read() -> RunRequest | None:
        from psgd.jobs.prepare import read_request  # imports YAML, which the other processes do without

        request = read_request(options, len(world.members)) if options else None
        if request:
            world.watchdog.patience = request.settings.cluster.patience
        return request

    request = _by_first(world, agreement, read)
    return run_with_mpi(request, world, agreement, signals) if request else 0


def _by_first(world: World, agreement: Agreement, act: Callable[[], T]) -> T | None:
    """Collective: call `act` on the first process alone and return its answer on all."""
    return world.broadcast(agreement.together(lambda: None if world.process else act()))


def run_with_mpi(request: RunRequest, world: World, agreement: Agreement, signals: Signals) -> int:
    """Collective: load the data once a host, build the job, open the run directory and train."""
    settings = request.settings
    world.watchdog.patience = settings.cluster.patience

    def stop_if_asked() -> None:
        if signals.asked:
            raise Stopped(signals.asked, None)

    def load() -> Data | None:
        stop_if_asked()
        return load_data(settings)

    def load_once() -> Data | None:
        data = world.load_once_per_host(load)
        stop_if_asked()
        return data

    data = agreement.together(load_once)
    assert data, "None only if loading failed on another process"

    def open_first() -> Path:
        from psgd.jobs.files.open_directory import open_directory

        return open_directory(request, data)

    job = agreement.together(lambda: build_job(settings, data))
    job = with_device(job, world, world.host_peers.rank, agreement)  # before there is a directory: it may be refused
    directory = _by_first(world, agreement, open_first)
    assert directory
    limit_blas()
    transport = open_transport(world, settings.cluster.patience)
    if transport.recovers:  # then the first process may be lost, and the others go on
        agreement.together(lambda: share_lock(directory))
    result = run_printing(Training(request, directory, lambda: job, transport, signals))
    transport.close()
    return print_summary(result)
