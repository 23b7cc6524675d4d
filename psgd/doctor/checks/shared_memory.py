"""/dev/shm, where MPI keeps the messages between processes of a host: its size, and what ended programs left there."""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from psgd.core.wording import counted, data_size
from psgd.doctor.finding import Finding, note, ok, wrong

PROCESS_BYTES = 1_060_000  # that MPICH takes for each process, which dies of a bus error if they are not there
NEEDED_BYTES = 4 << 20  # for two processes of any MPI
_NEW_SECONDS = 60.0  # a younger file may be one that a program has just made and will map
_OF_MPI = re.compile(r"mpich_shm_|Intel_MPI_|sm_segment\.|vader_segment\.|osc_rdma\.|psm2_shm|ucx_shm")

SHM = Path("/dev/shm")


def check() -> list[Finding]:
    from psgd.core.cores import cores

    if not SHM.is_dir():
        return [note("/dev/shm", "there is none: MPI keeps messages between processes elsewhere")]
    disk = os.statvfs(SHM)
    found = [judge_room(disk.f_blocks * disk.f_frsize, free_bytes(), cores())]
    left = leftovers(SHM, in_use(Path("/proc")), time.time())
    return found + ([judge_leftovers(left)] if left else [])


def free_bytes() -> int:
    disk = os.statvfs(SHM)
    return disk.f_bavail * disk.f_frsize


def judge_room(total: int, free: int, processors: int) -> Finding:
    """`total` and `free` in bytes."""
    text, processes = f"{data_size(free)} free of {data_size(total)}", free // PROCESS_BYTES
    details = {"total": total, "free": free, "processes": processes}
    advice = "docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm"
    if free < NEEDED_BYTES:
        return wrong("/dev/shm", f"{text}: MPI's processes die of a bus error (signal 7)", advice, **details)
    enough = f"{text}: enough for {processes:,} processes of MPICH"
    if processes < processors:
        return note("/dev/shm", f"{enough}; more die of a bus error (signal 7)", advice, **details)
    return ok("/dev/shm", enough, **details)


def leftovers(directory: Path, used: set[int], now: float) -> list[Path]:
    """Files of this user's ended MPI programs: nobody has them open. `used`: the inodes of files that are in use;
    `now`: seconds since 1970."""
    found = []
    for path in sorted(directory.iterdir()):
        about = path.lstat()
        old = now - about.st_mtime > _NEW_SECONDS
        if _OF_MPI.match(path.name) and about.st_uid == os.getuid() and about.st_ino not in used and old:
            found.append(path)
    return found


def judge_leftovers(left: list[Path]) -> Finding:
    total = sum(path.stat().st_blocks * 512 for path in left)
    kinds = sorted({str(path.with_name(_kind(path.name))) for path in left})
    return note(
        "/dev/shm",
        f"{counted(len(left), 'file')} of MPI programs that were killed take {data_size(total)}",
        f"while no MPI program runs: rm {' '.join(kinds)}",
        files=[str(path) for path in left],
    )


def _kind(name: str) -> str:
    found = _OF_MPI.match(name)
    return f"{found.group() if found else name}*"


def in_use(proc: Path) -> set[int]:
    """The inodes of files in /dev/shm that processes have mapped. Of other users' processes it cannot be read."""
    found = set()
    for maps in proc.glob("[0-9]*/maps"):
        found |= set(_mapped(maps))
    return found


def _mapped(maps: Path) -> Iterable[int]:
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:  # ended meanwhile, or another user's
        return []
    return [int(line.split(None, 5)[4]) for line in lines if "/dev/shm/" in line]
