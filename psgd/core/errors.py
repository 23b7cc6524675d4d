"""The errors that users see, and the exit code of each: every process of the job leaves with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PsgdError(Exception):
    """An error whose message is for the user: what was wrong, the value, what to do. No traceback is shown."""

    code = 1


class UsageError(PsgdError):
    """A command line or a config that cannot be run."""

    code = 2


class DataError(PsgdError):
    """Data that cannot be found, read or understood."""

    code = 3


class StorageError(PsgdError):
    """A run directory or checkpoint that cannot be written, read or continued."""

    code = 3


class Diverged(PsgdError):
    """A loss, gradient or parameter that is not finite."""

    code = 4


class ProcessLost(PsgdError):
    """A process vanished or hung. Raised by the exchanges and reductions of a group."""

    code = 5


STOPPED = 75  # exit code: stopped by a signal, with a checkpoint saved
INTERRUPTED = 130  # exit code: Ctrl-C


@contextmanager
def reworded(reword: Callable[[str], str]) -> Iterator[None]:
    """Change the messages of errors that leave the block, from names of settings to those of arguments, say."""
    try:
        yield
    except PsgdError as error:
        error.args = (reword(str(error)),)
        raise
