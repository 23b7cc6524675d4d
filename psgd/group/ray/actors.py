"""Starting Ray actors, each a process of the job, and watching over them until the last has ended."""

import contextlib
import io
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, final

from psgd.core.errors import ProcessLost
from psgd.group.ray.coordinator import Coordinator
from psgd.group.ray.transport import GRACE, Ray, first_line, library

START = 60.0  # seconds: at least, for actors to start, where patience is less
LOOK = 0.2  # seconds between two looks at the signals and the clock


@final
class RemoteStderr(io.TextIOBase):
    """An actor's stderr: what is flushed has reached the driver. Ray's own way there adds prefixes, merges equal lines
    and may come late."""

    def __init__(self, coordinator: Any) -> None:
        self._ray, self._coordinator = library(), coordinator
        self._text = ""

    def write(self, text: str) -> int:
        self._text += text
        return len(text)

    def flush(self) -> None:
        text, self._text = self._text, ""
        if text:
            try:
                self._ray.get(self._coordinator.say.remote(text), timeout=GRACE)
            except self._ray.exceptions.RayError:
                print(text, end="", file=sys.__stderr__, flush=True)  # to the actor's log


@final
class Process:
    """An actor: one process of the job."""

    def __init__(self, process: int, processes: int, coordinator: Any, patience: float) -> None:
        self._coordinator = coordinator
        self._transport = Ray(process, processes, coordinator, patience)

    def place(self) -> str:
        return f"pid {os.getpid()} on {socket.gethostname()}"

    def run(self, main: Callable[[Ray], Any]) -> Any:
        before, sys.stderr = sys.stderr, RemoteStderr(self._coordinator)
        try:
            return main(self._transport)
        except SystemExit as leaving:  # Ray would take it for the actor's wish to end
            with contextlib.suppress(SystemExit):
                self._transport.abort(leaving.code if isinstance(leaving.code, int) else 1)
            return None
        finally:
            sys.stderr.flush()
            sys.stderr = before


def run_actors(
    processes: int,
    patience: float,
    variables: Mapping[str, str],
    main: Callable[[Ray], Any],
    asked: Callable[[], int] = lambda: 0,
) -> list[Any]:
    """`main(transport)` in each of `processes` actors, with these environment variables -> what each returned.

    Ray is connected to. `asked`: the number of a signal that asked to stop, or 0; before all actors run, it is a
    KeyboardInterrupt. An exception is raised here; SystemExit if an actor aborted; ProcessLost if one was lost.
    """
    ray = library()
    environment = {"env_vars": dict(variables)}
    coordinator = ray.remote(num_cpus=0, runtime_env=environment)(Coordinator).remote(processes, patience)
    actor = ray.remote(num_cpus=1, max_restarts=0, runtime_env=environment)(Process)
    actors = [actor.remote(p, processes, coordinator, patience) for p in range(processes)]
    try:
        places = _places(ray, actors, patience, asked)
        return _watch(ray, coordinator, {a.run.remote(main): p for p, a in enumerate(actors)}, places, asked)
    finally:
        for each in (*actors, coordinator):
            ray.kill(each)


def _places(ray: Any, actors: list[Any], patience: float, asked: Callable[[], int]) -> list[str]:
    """Where the actors run, when all do."""
    futures = [actor.place.remote() for actor in actors]
    patience = max(patience, START)
    until = time.monotonic() + patience
    while True:
        ready, waiting = ray.wait(futures, num_returns=len(futures), timeout=LOOK)
        try:
            places: list[str] = ray.get(ready)
        except ray.exceptions.RayError as error:
            raise ProcessLost(f"an actor could not start: {first_line(error)}") from None
        if not waiting:
            return places
        if asked():
            raise KeyboardInterrupt
        if time.monotonic() > until:
            raise ProcessLost(
                f"{len(waiting)} of {len(actors)} actors have not started within {patience:g} s: Ray may have no free "
                "CPUs for them (ray status); lower cluster.processes"
            )


def _watch(
    ray: Any, coordinator: Any, running: dict[Any, int], places: list[str], asked: Callable[[], int]
) -> list[Any]:
    """Pass on what the actors say, and the signals they are to heed; end the job when one of them cannot go on."""
    results: list[Any] = [None] * len(running)
    failure: BaseException | None = None
    told, until = 0, float("inf")
    news = coordinator.news.remote()
    while running and time.monotonic() < until:
        ready, _ = ray.wait([news, *running], timeout=LOOK)
        if asked() != told:
            told = asked()
            coordinator.ask.remote(told)
        for future in ready:
            if future is news:
                verdict = _pass_on(ray, news)
                failure = failure or verdict
                news = coordinator.news.remote()
                continue
            process = running.pop(future)
            try:
                results[process] = ray.get(future)
            except ray.exceptions.RayTaskError as error:
                failure = failure or error
                coordinator.end.remote(1, "")
            except ray.exceptions.RayError:
                reason = f"process {process} ({places[process]}) was lost: it or its host died"
                if failure is None or isinstance(failure, ProcessLost):  # better than what the survivors know of it
                    failure = ProcessLost(reason)
                coordinator.end.remote(5, reason)
        if failure and until == float("inf"):
            until = time.monotonic() + GRACE
    coordinator.close.remote()
    for last in (news, coordinator.news.remote()):
        verdict = _pass_on(ray, last)
        failure = failure or verdict
    if failure:
        raise failure
    return results


def _pass_on(ray: Any, news: Any) -> BaseException | None:
    """Print what actors said; what to raise if the job has ended."""
    try:
        said, verdict = ray.get(news, timeout=GRACE)
    except ray.exceptions.RayError as error:
        raise ProcessLost(f"the coordinator was lost: {first_line(error)}") from None
    print(said, end="", file=sys.stderr, flush=True)
    if verdict is None:
        return None
    return ProcessLost(verdict.reason) if verdict.reason else SystemExit(verdict.code)
