"""The errors that users see, and the exit code of each: every process of the job leaves with it."""

import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


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


def raised_at_the_call(
    function: Callable[Arguments, T],
    hint: Callable[[Sequence[str], Sequence[Any], Mapping[str, Any]], str] = lambda names, placed, named: "",
) -> Callable[Arguments, T]:
    """Cut psgd's own frames out of the tracebacks of errors that leave `function`.

    An error for the user, such as a UsageError, then shows the line of the user's that called `function`, and nothing
    else; an exception in a function of the user's also shows that function's frames. Tracebacks stay whole where the
    mistake may be psgd's: of a PsgdError with code 1, and of exceptions raised in psgd or in a library that it called.

    `hint`: returns the end of the message about a call with arguments that `function` does not have, given the names of
    its arguments and those of the call."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            # Whether the arguments are not those of `function`. From 3.13 on, Python itself says which may be meant.
            refused = isinstance(error, TypeError) and error.__traceback__ and not error.__traceback__.tb_next
            if refused and "Did you mean" not in str(error):
                names = [name for name in function.__annotations__ if name != "return"]
                error.args = (f"{error}{hint(names, args, kwargs)}",)
            users = users_part(error.__traceback__)
            expected = isinstance(error, PsgdError) and error.code != PsgdError.code
            if not (users or (expected and _only_psgd(error.__traceback__))):
                raise
            shown = error
        raise shown.with_traceback(users)  # psgd's own frames are left out: the mistake is not in them

    return call


def users_part(traceback: TracebackType | None) -> TracebackType | None:
    """What is beneath the last frame of psgd, if that is the user's: neither a library's nor Python's own."""
    part = None
    while traceback:
        if _is_psgd(traceback):
            part = traceback.tb_next
        traceback = traceback.tb_next
    libraries = tuple({*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))})
    return part if part and not part.tb_frame.f_code.co_filename.startswith((*libraries, "<frozen")) else None


def _only_psgd(traceback: TracebackType | None) -> bool:
    """Whether all frames are of modules of psgd."""
    while traceback:
        if not _is_psgd(traceback):
            return False
        traceback = traceback.tb_next
    return True


def _is_psgd(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0] == "psgd"
