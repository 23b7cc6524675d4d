"""What is compiled: functions that know their arguments by letters."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Kernel(NamedTuple):
    """`takes`: a letter for each argument, `gives` for what comes back, if anything does: a(rray of numpy, handed over
    as the address of the object), i(nteger of 64 bits), r(eal number of the type that is compiled for)."""

    name: str
    function: Callable[..., Any]
    takes: str
    gives: str = ""
