"""The size of the memory that there is, and refusals of what cannot fit in it."""

import os

from psgd.core.cgroup import limits
from psgd.core.errors import UsageError
from psgd.core.wording import data_size


def memory_bytes() -> int:
    """The memory that this process may use: the machine's, or less where a control group (a container) allows less."""
    limit = limits().memory
    return physical_bytes() if limit is None else min(limit, physical_bytes())


def physical_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_fits(needed: int, what: str, advice: str) -> None:
    """UsageError if `needed` bytes are more than there are; `what` needs them."""
    if needed > (there := memory_bytes()):
        raise UsageError(
            f"{what} need {data_size(needed)} at least, and this process may use {data_size(there)}; {advice}"
        )
