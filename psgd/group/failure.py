"""The one protocol of failure: exchange exit codes; the first process that failed reports; all leave with its code.

Only exceptions are handled here. A process that vanishes raises ProcessLost at the others.
"""

import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar, cast, final

from psgd.core.errors import PsgdError, UsageError, users_part
from psgd.core.log import LOG

T = TypeVar("T")

_CODE_BYTES = 8


class Exchange(Protocol):
    """What the protocol needs: a transport, or at start-up MPI's world."""

    process: int  # this process's number, for life
    members: Sequence[int]  # the living processes, in order

    def all_gather(self, row: bytes) -> list[bytes]:
        """Collective: everyone's row, in the order of members. Rows are equally long."""
        ...

    def abort(self, code: int) -> NoReturn:
        """End every process at once, if possible, with this exit code."""
        ...


class Ended(PsgdError):
    """Another process reports why the job ends; this one leaves silently with the same code."""

    def __init__(self, code: int) -> None:
        super().__init__("ended by another process")
        self.code = code


@final
class Agreement:
    """One process's end of the protocol. `prefix`: before its messages; by default the number of the process."""

    def __init__(self, exchange: Exchange, prefix: str | None = None) -> None:
        self._exchange = exchange
        self._prefix = f"[{exchange.process}] " if prefix is None else prefix
        self.failure: Exception | None = None  # the first of this process; the next exchange reports it

    @property
    def code(self) -> int:
        """The exit code of this process's failure, or 0."""
        return exit_code(self.failure) if self.failure else 0

    def attempt(self, act: Callable[[], T], otherwise: T) -> T:
        """Do local work before an exchange: what `act` returns, or `otherwise` if it fails; the failure is kept."""
        try:
            return act()
        except Exception as failure:
            self.keep(failure)
            return otherwise

    def keep(self, failure: Exception) -> None:
        """Keep a failure of local work for the next exchange; the first one counts."""
        self.failure = self.failure or failure

    def check(self) -> None:
        """Collective: raise if any process has failed, as `raise_if_failed` does."""
        rows = self._exchange.all_gather(self.code.to_bytes(_CODE_BYTES, "little"))
        self.raise_if_failed([int.from_bytes(row, "little") for row in rows])

    def together(self, act: Callable[[], T]) -> T:
        """Collective: what `act` returns here, once it has succeeded on all processes."""
        answer = self.attempt(act, cast(T, None))
        self.check()
        return answer

    def raise_if_failed(self, codes: Sequence[int]) -> None:
        """From the codes of all members: the first that failed raises its failure, the others raise Ended."""
        failed = [(process, code) for process, code in zip(self._exchange.members, codes, strict=True) if code]
        if not failed:
            return
        first, code = failed[0]
        if self.failure and first == self._exchange.process:
            raise self.failure
        raise Ended(code)

    def must_report(self, error: BaseException) -> bool:
        """Whether this process is the one to report an error that ends all of them: its own failure, or, of an error
        that all have found, the first process."""
        if isinstance(error, Ended):
            return False
        return error is self.failure or self._exchange.process == self._exchange.members[0]

    def report(self, error: Exception, pickled: Callable[[Any], bytes] = pickle.dumps) -> Exception | None:
        """What to send of an error to where it can be raised, if this process is the one to report it. Ends every
        process at once unless the others leave too. `pickled`: by what it will be sent."""
        self.abort_unless_shared(error)
        return portable(error, self._exchange.process, pickled) if self.must_report(error) else None

    def abort_unless_shared(self, error: BaseException) -> None:
        """Report `error` and end every process at once, unless the others leave too: a PsgdError is raised on all of
        them, and this process's own failure was in its last exchange. Else they would wait for this one forever."""
        if error is not self.failure and not isinstance(error, PsgdError):
            self.log_error(error)
            self._exchange.abort(exit_code(error))

    def conclude(self, work: Callable[[], int]) -> int:
        """The outermost call: the exit code that `work` returns, or that of its error, which one process prints."""
        try:
            return work()
        except Exception as error:
            self.abort_unless_shared(error)
            if self.must_report(error):
                self.log_error(error)
            return exit_code(error)

    def log_error(self, error: BaseException) -> None:
        """Log an error: one line if it is for the user, else a traceback."""
        if isinstance(error, MemoryError):
            error = out_of_memory(error)
        if isinstance(error, PsgdError):
            for line in str(error).splitlines():
                LOG.error("%spsgd: %s", self._prefix, line)
        else:
            LOG.error("".join(traceback.format_exception(error)).rstrip("\n"))


def exit_code(error: BaseException) -> int:
    """The exit code of a job that an error ends."""
    if isinstance(error, MemoryError):
        return UsageError.code
    return error.code if isinstance(error, PsgdError) else 1


def out_of_memory(error: MemoryError) -> UsageError:
    """What to say to the user in place of a MemoryError."""
    how_much = f" ({error})" if str(error) else ""
    return UsageError(f"there is not enough memory{how_much}; lower the size of the model or data")


def portable(error: Exception, process: int, pickled: Callable[[Any], bytes] = pickle.dumps) -> Exception:
    """Convert an exception to one that can be sent to another process, with its traceback as a note: itself, or a
    PsgdError if it cannot be `pickled`."""
    if isinstance(error, PsgdError):
        return error
    if isinstance(error, MemoryError):
        return out_of_memory(error)
    sent = error
    try:
        pickle.loads(pickled(error))
    except Exception:  # of many types
        sent = PsgdError(f"process {process}: {type(error).__name__}: {error}")
    error = error.with_traceback(users_part(error.__traceback__) or error.__traceback__)
    sent.add_note(f"process {process}: {''.join(traceback.format_exception(error))}".rstrip("\n"))
    return sent
