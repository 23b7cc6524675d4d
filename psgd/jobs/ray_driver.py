"""The driver of a job on Ray: it connects or starts Ray, and each actor runs a session. It computes nothing itself."""

import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import psgd
from psgd.backends.blas import VARIABLES, limit_after_numpy
from psgd.config.settings import Settings
from psgd.core.errors import PsgdError, UsageError
from psgd.data.dataset import Data
from psgd.data.sources.load import load_data
from psgd.group.ray.actors import run_actors
from psgd.group.ray.transport import Ray, library
from psgd.jobs.choose_group import cores
from psgd.jobs.request import RunRequest
from psgd.jobs.session import Result, complain, run_session
from psgd.training.signals import Signals, exit_code

# Of the driver's environment, what decides bits or where data are found.
PASSED_ON = ("OPENBLAS_CORETYPE", "PSGD_DATA", "XDG_CACHE_HOME")


def run_ray(order: RunRequest) -> Result:
    """The first process's result. On the Ray that this program or RAY_ADDRESS names, else on a local one."""
    settings, signals = order.settings, Signals()
    if note := limit_after_numpy():
        print(f"psgd: {note}", file=sys.stderr)
    try:
        with _connected(settings), _listening(signals):
            main = partial(_session, order, os.getcwd())
            patience = settings.cluster.patience
            processes = _processes(settings)
            results: list[Result] = run_actors(processes, patience, _variables(), main, lambda: signals.asked)
    except SystemExit as aborted:  # the actor that did it has said why
        return Result(aborted.code if isinstance(aborted.code, int) else 1, None)
    except KeyboardInterrupt:  # before the actors ran
        return Result(exit_code(signals.asked or signal.SIGINT), None)
    codes = {result.code for result in results}
    if len(codes) > 1:
        raise PsgdError(f"the processes ended with unlike codes: {[result.code for result in results]}")
    return results[0]


def _session(order: RunRequest, where: str, transport: Ray) -> Result:
    """In an actor."""
    limit_after_numpy()
    with contextlib.suppress(OSError):  # another host may not have it; relative paths of data are the driver's
        os.chdir(where)
    signals = Signals()

    def on_signal(number: int) -> None:
        signals.asked = signals.asked or number

    transport.on_signal = on_signal
    data, code = _load(order.settings, transport)
    return run_session(order, data, transport, signals) if data else Result(code, None)


def _load(settings: Settings, transport: Ray) -> tuple[Data | None, int]:
    """Collective: the data, or the code of the first process that could not read them and has said why."""
    data, failure = None, None
    try:
        data = load_data(settings)
    except Exception as error:
        failure = error
    code = 0 if failure is None else failure.code if isinstance(failure, PsgdError) else 1
    codes = [int(np.frombuffer(row, np.int64)[0]) for row in transport.all_gather(np.int64(code).tobytes())]
    first = next((process for process, code in enumerate(codes) if code), None)
    if first is None:
        return data, 0
    if first == transport.process:
        if isinstance(failure, PsgdError):
            complain(failure, transport.process)
        else:
            traceback.print_exception(failure)
    return None, codes[first]


@contextlib.contextmanager
def _connected(settings: Settings) -> Iterator[None]:
    ray = library()
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    try:
        if address == "local":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            wanted = settings.cluster.processes or min(settings.worker_count, cores())
            ray.init("local", num_cpus=wanted, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        else:
            check_reachable(address)
            ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"cannot connect to Ray at {address} (RAY_ADDRESS): {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


def check_reachable(address: str) -> None:
    """OSError if nobody listens at HOST:PORT: Ray would try for a minute, and more than once."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _processes(settings: Settings) -> int:
    ray, asked = library(), settings.cluster.processes
    there = int(ray.cluster_resources().get("CPU", 0))
    if asked and asked > there:
        raise UsageError(f"cluster.processes is {asked}, but Ray has {there} CPUs, and each process takes one")
    free = int(ray.available_resources().get("CPU", 0))
    return int(asked or max(1, min(settings.worker_count, free)))


def _variables() -> dict[str, str]:
    """The environment of actors, set before they import anything: one BLAS thread, and this psgd."""
    variables = dict.fromkeys(VARIABLES, "1") | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    paths = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    root = Path(psgd.__file__).resolve().parent.parent
    if not {"site-packages", "dist-packages"} & set(root.parts):  # a checkout, which the actors' Python does not know
        paths.insert(0, str(root))
    return variables | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


@contextlib.contextmanager
def _listening(signals: Signals) -> Iterator[None]:
    """Signals of the driver, which the actors heed; afterwards as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    signals.listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
