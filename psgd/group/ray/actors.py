"""Ray actors: each runs one process of the job; the driver starts them and watches them until the last has ended."""

import contextlib
import io
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, final

from psgd.core.errors import INTERRUPTED, ProcessLost, PsgdError
from psgd.core.log import LOG
from psgd.group.ray.control_plane import ControlPlane
from psgd.group.ray.coordinator import Coordinator, Question
from psgd.group.ray.library import import_ray
from psgd.group.ray.transport import GRACE_SECONDS, Ray, first_line

T = TypeVar("T")

START_SECONDS = 60.0  # that actors may take to start, or cluster.patience if that is more
POLL_SECONDS = 0.2  # between two looks at signals and the clock


@final
class RemoteStderr(io.TextIOBase):
    """An actor's stderr: flushed text is sent to the driver. Ray's own forwarding adds prefixes, merges equal lines and
    may come late."""

    def __init__(self, coordinator: Any) -> None:
        self._ray, self._coordinator = import_ray(), coordinator
        self._text = ""

    def write(self, text: str) -> int:
        self._text += text
        return len(text)

    def flush(self) -> None:
        text, self._text = self._text, ""
        if text:
            try:
                self._ray.get(self._coordinator.print.remote(text), timeout=GRACE_SECONDS)
            except self._ray.exceptions.RayError:
                print(text, end="", file=sys.__stderr__, flush=True)  # to the actor's log


@final
class Process:
    """An actor: one process of the job."""

    def __init__(self, process: int, processes: int, coordinator: Any, patience: float) -> None:
        self._coordinator = coordinator
        self._transport = Ray(process, processes, coordinator, patience)

    def location(self) -> str:
        return f"pid {os.getpid()} on {socket.gethostname()}"

    def run(self, main: Callable[[Ray], Any]) -> Any:
        before, sys.stderr = sys.stderr, RemoteStderr(self._coordinator)
        try:
            return main(self._transport)
        except (SystemExit, KeyboardInterrupt) as leaving:  # Ray would take it for the actor's wish to end, or its own
            code = INTERRUPTED if isinstance(leaving, KeyboardInterrupt) else leaving.code
            with contextlib.suppress(SystemExit):
                self._transport.abort(code if isinstance(code, int) else 1)
            return None
        finally:
            sys.stderr.flush()
            sys.stderr = before


def run_actors(
    processes: int,
    patience: float,
    variables: Mapping[str, str],
    main: Callable[[Ray], T],
    stop_signal: Callable[[], int] = lambda: 0,
    gpus: float = 0.0,
    answer: Callable[[Any], Any] | None = None,
) -> list[T | None]:
    """Run `main(transport)` in each of `processes` actors and return their results: None of one that was lost. Ray must
    be connected.

    `variables`: environment variables of the actors. `stop_signal`: the number of a signal that asked to stop, or 0;
    before all actors run, it raises KeyboardInterrupt. `gpus`: what each actor reserves; Ray shows it that GPU, and an
    actor that reserves none sees none. `answer`: called here, with what an actor asks the driver. Raises the exception
    of an actor or of `answer`, SystemExit if an actor aborted, and ProcessLost if one could not start or did not come
    to an exchange.
    """
    ray = import_ray()
    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # Ray would leave all GPUs of a machine to such an actor
    environment = {"env_vars": {**variables, **hidden}}
    # On the driver's host: the loss of another one must not take it along.
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    # Without a record of each call in the control plane, which keeps 100,000 of them, of 3 kB.
    central = ray.remote(num_cpus=0, runtime_env=environment, scheduling_strategy=here, enable_task_events=False)(
        Coordinator
    )
    coordinator = central.remote(processes, patience)
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, runtime_env=environment)(Process)
    actors = [actor.remote(p, processes, coordinator, patience) for p in range(processes)]
    try:
        locations = _wait_for_start(ray, actors, patience, stop_signal)
        sent = ray.put(main)  # once for all actors of a host, since it may hold data
        running = {a.run.remote(sent): p for p, a in enumerate(actors)}
        with ControlPlane(coordinator, patience):
            return _watch(ray, coordinator, running, locations, stop_signal, answer)
    finally:
        for each in (*actors, coordinator):
            ray.kill(each)


def _wait_for_start(ray: Any, actors: list[Any], patience: float, stop_signal: Callable[[], int]) -> list[str]:
    """Where the actors run, when all of them do. ProcessLost if one cannot start in time."""
    futures = [actor.location.remote() for actor in actors]
    patience = max(patience, START_SECONDS)
    deadline = time.monotonic() + patience
    while True:
        ready, waiting = ray.wait(futures, num_returns=len(futures), timeout=POLL_SECONDS)
        try:
            locations: list[str] = ray.get(ready)
        except ray.exceptions.RayError as error:
            raise ProcessLost(f"an actor could not start: {first_line(error)}") from None
        if not waiting:
            return locations
        if stop_signal():
            LOG.info("psgd: stopped before training began")
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            raise ProcessLost(
                f"{len(waiting)} of {len(actors)} actors have not started within {patience:g} s: Ray may have no free "
                "CPUs or GPUs for them (ray status); lower cluster.processes, or wait until other jobs have ended"
            )


def _watch(
    ray: Any,
    coordinator: Any,
    running: dict[Any, int],
    locations: list[str],
    stop_signal: Callable[[], int],
    answer: Callable[[Any], Any] | None,
) -> list[Any]:
    """Print what actors print, answer what they ask, pass on signals, tell the others of a loss, and end the job when
    an actor fails."""
    results: list[Any] = [None] * len(running)
    failure: BaseException | None = None
    passed_on, deadline = 0, float("inf")
    news = coordinator.news.remote()
    while running and time.monotonic() < deadline:
        ready, _ = ray.wait([news, *running], timeout=POLL_SECONDS)
        if stop_signal() != passed_on:
            passed_on = stop_signal()
            coordinator.request_stop.remote(passed_on)
        for future in ready:
            if future is news:
                early_end, question = _print_news(ray, news)
                failure = failure or early_end
                if question and answer:
                    coordinator.answer.remote(question.number, answer(question.content))
                news = coordinator.news.remote()
                continue
            process = running.pop(future)
            try:
                results[process] = ray.get(future)
            except ray.exceptions.RayTaskError as error:
                failure = failure or error
                coordinator.end.remote(PsgdError.code, "")
            except ray.exceptions.RayError:
                LOG.warning("psgd: warning: process %d (%s) was lost: it or its host died", process, locations[process])
                coordinator.lose.remote(process)
        if failure and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
    coordinator.close.remote()
    for last in (news, coordinator.news.remote()):
        early_end, _ = _print_news(ray, last)
        failure = failure or early_end
    if failure:
        raise failure
    return results


def _print_news(ray: Any, news: Any) -> tuple[BaseException | None, Question | None]:
    """Print what actors have printed; return what to raise if the job has ended, and what an actor asks."""
    try:
        text, early_end, question = ray.get(news, timeout=GRACE_SECONDS)
    except ray.exceptions.RayError as error:
        reason = first_line(error).rstrip(".")
        raise ProcessLost(f"the coordinator was lost or hangs: {reason}; continue with --resume") from None
    if text:
        LOG.info(text.removesuffix("\n"))
    if early_end is None:
        return None, question
    return ProcessLost(early_end.reason) if early_end.reason else SystemExit(early_end.code), question
