"""What the small commands share: the name they were called by, standard streams, errors, exit codes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from psgd.core.errors import INTERRUPTED, PsgdError, UsageError
from psgd.core.log import LOG, open_missing_streams


def program_name(command: str) -> str:
    """Return how the user called a command, for its help: `psgd train`, `python -m psgd train` or
    `python -m psgd.train`."""
    called = Path(sys.argv[0])
    if called.stem == "psgd":
        return f"psgd {command}"
    if called.parts[-2:] == ("psgd", "__main__.py"):
        return f"python -m psgd {command}"
    return f"python -m psgd.{command}"


def path_of(option: str) -> Callable[[str], Path]:
    """Return what reads the path that is given with an option, as a type of argparse. UsageError if it is empty."""
    return lambda text: Path(expanded(option, text))


def expanded(option: str, text: str) -> str:
    """Return the path that is given with an option, without a ~, which shells leave as it is in --output=~/run.
    UsageError if it is empty: it would be the working directory."""
    if not text:
        raise UsageError(f"{option} is empty, as where a variable of the shell is not set; name a path")
    return os.path.expanduser(text)


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
