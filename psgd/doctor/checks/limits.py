"""Limits of this user: open files and processes."""

import resource

from psgd.doctor.finding import Finding, note, ok

FILES, PROCESSES = 1024, 512  # below which a job of many processes, or Ray, may fail


def check() -> list[Finding]:
    return [judge(resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_NPROC)[0])]


def judge(files: int, processes: int) -> Finding:
    """The limits for open files and for processes, RLIM_INFINITY if there is none."""
    text = f"{_count(files)} open files, {_count(processes)} processes"
    low = []
    if files != resource.RLIM_INFINITY and files < FILES:
        low.append(f"ulimit -n {FILES * 8}")
    if processes != resource.RLIM_INFINITY and processes < PROCESSES:
        low.append(f"ulimit -u {PROCESSES * 8}")
    details = {"files": files, "processes": processes}
    if low:
        return note("limits", f"{text} at most: Ray, or MPI with many processes, may fail", "; ".join(low), **details)
    return ok("limits", f"{text} at most", **details)


def _count(limit: int) -> str:
    return "any number of" if limit == resource.RLIM_INFINITY else str(limit)
