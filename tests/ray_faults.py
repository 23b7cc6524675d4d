"""What Ray actors do in tests of failures. Without pytest, which each of them would import."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from user_function import gradient

from psgd.core.errors import UsageError
from psgd.group.group import Group
from psgd.group.ray import transport as ray_transport
from psgd.group.ray.transport import Ray
from psgd.jobs.launch import ray as ray_driver
from psgd.training.steps.local_steps import LocalSteps


def _at(call: int, owner: Any, name: str, act: Any) -> None:
    """Make every call of a method from number `call` on, counted from 0, run `act` first."""
    method, calls = getattr(owner, name), iter(range(call))

    def counted(self: Any, *arguments: Any) -> Any:
        if next(calls, None) is None:
            act()
        return method(self, *arguments)

    setattr(owner, name, counted)


def _fail() -> None:
    raise ZeroDivisionError("on purpose")


def failing_in_its_work(*arguments: Any) -> Any:
    if arguments[-1].process == 1:
        _at(3, LocalSteps, "run", _fail)
    return ray_driver._run_on_actor(*arguments)


def failing_between_exchanges(*arguments: Any) -> Any:
    if arguments[-1].process == 1:
        _at(3, Group, "combine", _fail)
    return ray_driver._run_on_actor(*arguments)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(deaths: Mapping[int, tuple[str, int]], *arguments: Any) -> Any:
    """Process -> the method of its transport, and the number of the call, counted from 0, before which it dies. All
    vectors go through the object store; one whose owner dies before others fetch it is lost."""
    ray_transport.REPLY_BYTES = -1
    process = arguments[-1].process
    if process in deaths:
        name, call = deaths[process]
        _at(call, Ray, name, _die)
    elif vectors := [call for name, call in deaths.values() if name == "_vectors"]:
        pauses = iter([1.0])  # until Ray has noticed
        _at(min(vectors), Ray, "_vectors", lambda: time.sleep(next(pauses, 0)))
    return ray_driver._run_on_actor(*arguments)


def dying_before_training(*arguments: Any) -> Any:
    if arguments[-1].process == 0:
        ray_driver.load_data = lambda settings: _die()
    return ray_driver._run_on_actor(*arguments)


def stop_and_slow_down() -> None:
    os.kill(int(os.environ["GCS"]), signal.SIGSTOP)
    time.sleep(0.05)  # in each exchange, which nobody's clock measures


def stopping_the_control_plane(*arguments: Any) -> Any:
    if arguments[-1].process == 1:
        _at(20, Ray, "all_gather", stop_and_slow_down)
    return ray_driver._run_on_actor(*arguments)


def failing_to_read(*arguments: Any) -> Any:
    if arguments[-1].process == 1:
        ray_driver.load_data = lambda settings: (_ for _ in ()).throw(UsageError("no such data here"))
    return ray_driver._run_on_actor(*arguments)


def failing_gradient(after: int, error: Exception) -> Any:
    """A gradient of user_function.py that fails on each process after so many calls."""

    calls: list[int] = []

    def failing(parameters: Any, X: Any, y: Any) -> Any:
        calls.append(len(y))
        if len(calls) == after:
            raise error
        return gradient(parameters, X, y)

    return failing
