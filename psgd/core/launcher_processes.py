"""The processes of an MPI launcher that started this one, as /proc lists them."""

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
# The names of programs that start processes of MPI, cut to 15 characters as the kernel does.
_NAMES = {
    *("mpirun", "mpiexec", "mpiexec.hydra", "mpiexec.gforker", "hydra_pmi_proxy", "hydra_bstrap_pr"),
    *("prterun", "prted", "orterun", "orted", "slurmstepd"),
}


class Ancestor(NamedTuple):
    process: int  # its id
    name: str

    @property
    def launches(self) -> bool:
        """Whether it is a launcher, or a part of one."""
        return self.name in _NAMES


def ancestors(proc: Path = _PROC) -> Iterator[Ancestor]:
    """The processes that started this one, directly or not, the nearest first, as far as they can be seen."""
    process, seen = os.getppid(), set[int]()
    while process > 1 and process not in seen and (stat := _stat(process, proc)):
        seen.add(process)
        yield Ancestor(process, stat[0])
        process = stat[1]


def launcher_line(proc: Path = _PROC) -> list[int]:
    """The ids of the processes through which a launcher started this one, the nearest first, which is its parent. There
    may be several on a host: Intel MPI's mpirun is a script that starts mpiexec, which starts a proxy."""
    line, found = [os.getppid()], False
    for ancestor in ancestors(proc):
        if found and not ancestor.launches:
            break
        found = found or ancestor.launches
        line += [ancestor.process] if ancestor.process != line[0] else []
    return line if found else line[:1]


def is_broken(line: Sequence[int], proc: Path = _PROC) -> bool:
    """Whether one of the processes of a `launcher_line` is gone: what it had started has another parent then."""
    parents = ((_stat(child, proc), parent) for child, parent in pairwise(line))
    return os.getppid() != line[0] or any(stat and stat[1] != parent for stat, parent in parents)


def _stat(process: int, proc: Path) -> tuple[str, int] | None:
    """A process's name and its parent; None if it cannot be seen."""
    try:
        stat = (proc / str(process) / "stat").read_bytes().decode(errors="replace")  # names are cut between any bytes
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return name, int(rest.split()[1])
