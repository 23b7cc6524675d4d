"""The logger "psgd" of the standard library, through which psgd says everything that is not a result.

A program that configures logging receives psgd's messages like any other's. Where none does, they go to standard error,
and a standard error that is closed, full or blocked costs messages, never the training.
"""

import logging
import os
import select
import sys
import time
from collections.abc import Hashable
from contextlib import suppress
from typing import final

LOG = logging.getLogger("psgd")

WAIT_SECONDS = 1.0  # for room in a pipe or terminal; raised, fewer messages are lost and a blocked reader delays more
PIECE_BYTES = 4096  # PIPE_BUF of Linux: what a pipe that is ready for writing takes without blocking

_said: set[Hashable] = set()  # what first_time was asked about


@final
class StandardError(logging.Handler):
    """Writes to standard error, unless the program has handlers of its own on the root logger. Never raises."""

    def __init__(self) -> None:
        super().__init__()
        self._blocked = False  # whether the last message found no room: the next one does not wait for it again

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr
        if stream is None or (LOG.propagate and logging.getLogger().handlers):
            return
        with suppress(Exception):
            text = self.format(record) + "\n"
            own = stream is sys.__stderr__
            if own:  # past its buffer, which would keep what cannot be written
                self._write(stream.fileno(), text.encode(stream.encoding, "backslashreplace"))
            else:
                stream.write(text)
                stream.flush()

    def _write(self, descriptor: int, text: bytes) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        deadline = time.monotonic() + (0.0 if self._blocked else WAIT_SECONDS)
        while text:
            self._blocked = not poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if self._blocked:
                return
            text = text[os.write(descriptor, text[:PIECE_BYTES]) :]


def first_time(about: Hashable) -> bool:
    """Whether nothing has been said about this in this process; from now on, something has."""
    first = about not in _said
    _said.add(about)
    return first


def say_once(text: str) -> None:
    """Say it, unless this process has said it before."""
    if first_time(text):
        LOG.info(text)


def open_missing_streams() -> None:
    """Open the null device in place of a standard input, output or error that the caller has closed: the next file to
    be opened would take its number, and receive what is written to it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


LOG.setLevel(logging.INFO)
LOG.addHandler(StandardError())
