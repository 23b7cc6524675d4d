"""What can go wrong, and the exit code each kind ends the job with (the same from every process)."""


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
    """A process vanished or hung; raised by a group's meetings and combinations."""

    code = 5


STOPPED = 75  # a signal asked for it, and a checkpoint was saved
INTERRUPTED = 130  # Ctrl-C
