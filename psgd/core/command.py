"""The frame of the small commands: standard streams, errors, exit code."""

from collections.abc import Callable

from psgd.core.errors import INTERRUPTED, PsgdError
from psgd.core.log import LOG, open_missing_streams


def run_command(act: Callable[[], object]) -> int:
    """Call `act` and return the exit code: 0, that of a PsgdError, whose lines are logged, or 130 after Ctrl-C."""
    open_missing_streams()
    try:
        act()
    except PsgdError as error:
        for line in str(error).splitlines():
            LOG.error("psgd: %s", line)
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
