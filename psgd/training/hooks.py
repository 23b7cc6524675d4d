"""What the caller of a training is called for."""

from collections.abc import Callable
from typing import Any, NamedTuple

Loop = Any  # that of loop.py, which imports this


class Hooks(NamedTuple):
    """Functions of the loop. All but `started` are called again where a process is lost at the end."""

    # By the first process, when training begins, and by one that takes its place: with whether it goes on from an
    # earlier round. Like that of `finish`, its failure is everyone's.
    started: Callable[[Loop, bool], None] = lambda loop, resumed: None
    finish: Callable[[Loop], None] = lambda loop: None  # by the first process, at the end
    share: Callable[[Loop], None] = lambda loop: None  # by all of them, after that; collective


NO_HOOKS = Hooks()
