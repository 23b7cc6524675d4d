"""What the caller of a training is called for."""

from collections.abc import Callable
from typing import NamedTuple


class Hooks(NamedTuple):
    """Functions that `Loop.run` calls. All but `started` are called again where a process is lost at the end."""

    # The first process calls `started` when training begins, and so does one that takes its place, with whether it goes
    # on from an earlier round. A failure of `started` or `finish` is everyone's.
    started: Callable[[bool], None] = lambda resumed: None
    finish: Callable[[], None] = lambda: None  # called by the first process at the end
    share: Callable[[], None] = lambda: None  # called by all processes after that; collective


NO_HOOKS = Hooks()
