"""What the caller of a training is called for."""

from collections.abc import Callable
from typing import Any, NamedTuple

Loop = Any  # that of loop.py, which imports this


class Hooks(NamedTuple):
    """Functions of the loop. All but `started` are called again where a process is lost at the end."""

    # The first process calls `started` when training begins, and so does one that takes its place, with whether it goes
    # on from an earlier round. A failure of `started` or `finish` is everyone's.
    started: Callable[[Loop, bool], None] = lambda loop, resumed: None
    finish: Callable[[Loop], None] = lambda loop: None  # called by the first process at the end
    share: Callable[[Loop], None] = lambda loop: None  # called by all processes after that; collective


NO_HOOKS = Hooks()
