"""The size of this machine's memory, and refusals of what cannot fit in it."""

import os

from psgd.core.errors import UsageError
from psgd.core.wording import data_size


def memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_fits(needed: int, what: str, advice: str) -> None:
    """UsageError if `needed` bytes are more than this machine has; `what` needs them."""
    if needed > (there := memory_bytes()):
        raise UsageError(f"{what} need {data_size(needed)} at least, and this machine has {data_size(there)}; {advice}")
