"""Connects the driver to Ray: to a running cluster, or to one that it starts here for itself alone."""

import contextlib
import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from psgd.core.errors import ProcessLost, UsageError
from psgd.group.ray.control_plane import LONGEST_SILENCE
from psgd.group.ray.deadline import Deadline, end_process
from psgd.group.ray.library import CLIENT, INSTEAD_OF_CLIENT, LOCAL, address, import_ray, through_client

CONNECT_SECONDS = 60.0  # that starting Ray or connecting to it may take; Ray itself gives up after 30 s or never
LOCAL_VERSION = (2, 52)  # the first whose processes demand a token of all who connect


@contextlib.contextmanager
def connected(cpus: int) -> Iterator[None]:
    """Connect to the Ray of RAY_ADDRESS, or start one here with `cpus` CPUs, and disconnect afterwards; keep an
    existing connection. UsageError if that is impossible, ProcessLost if Ray's processes here did not start.

    Until Ray is shut down, what is printed goes to standard error: Ray prints its warnings, as of a worker that died,
    to standard output, which is for the summary alone."""
    ray, ray_address = import_ray(), address()
    if through_client(ray_address):
        raise UsageError(f"group ray cannot use Ray's client ({CLIENT}); {INSTEAD_OF_CLIENT}")
    if ray.is_initialized():
        yield
        return
    which = "the Ray started here" if ray_address == LOCAL else f"Ray at {ray_address} (RAY_ADDRESS)"

    def deadline(seconds: float, advice: str) -> Deadline:
        reason = f"{which} has not answered for {seconds:g} s: one of its processes was stopped or killed; {advice}"
        return Deadline(seconds, partial(end_process, reason))

    before = signal.getsignal(signal.SIGTERM)
    with deadline(CONNECT_SECONDS, "start again"):
        if ray_address == LOCAL:
            _start(ray, cpus)
        else:
            _connect(ray, ray_address)
    with _own_handler_of_sigterm(before), contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            with deadline(LONGEST_SILENCE, "continue with --resume, which also says whether the run has ended"):
                ray.shutdown()  # waits for the control plane


@contextlib.contextmanager
def _own_handler_of_sigterm(before: Any) -> Iterator[None]:
    """Ray, once connected, has put a handler in place of that of `before`: a function is put back at once. If there was
    none, Ray's, which ends what it started here, stays until the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # where Ray has left it alone
        yield
        return
    if callable(before):
        signal.signal(signal.SIGTERM, before)
    within = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is within and before is not None:  # None: it was not one of Python's
            signal.signal(signal.SIGTERM, before)


def _start(ray: Any, cpus: int) -> None:
    """Start Ray here. Other users of this host and of its network must not reach it, since they could run anything."""
    if tuple(int(number) for number in ray.__version__.split(".")[:2]) < LOCAL_VERSION:
        raise UsageError(
            f"ray {ray.__version__} cannot protect a Ray that is started here by a token: pip install 'psgd[ray]', "
            "or let RAY_ADDRESS name a running cluster"
        )
    try:
        ray.init(LOCAL, num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of many types
        raise ProcessLost(
            f"cannot start Ray here: {_one_line(error)}; is there room in RAY_TMPDIR, or else /tmp, and in memory?"
        ) from None
    listens = ray.util.get_node_ip_address()
    if not ipaddress.ip_address(listens).is_loopback:
        ray.shutdown()
        raise UsageError(
            f"a Ray started here would listen at {listens}, because ray was imported before psgd: call ray.init before "
            "psgd, or let RAY_ADDRESS name a running cluster"
        )


def _connect(ray: Any, ray_address: str) -> None:
    try:
        check_reachable(ray_address)
        ray.init(ray_address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of many types
        raise UsageError(
            f"cannot connect to Ray at {ray_address} (RAY_ADDRESS): {_one_line(error)}; are its address, its token "
            "(RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token) and its versions of Ray and Python those of this process?"
        ) from None


def check_reachable(ray_address: str) -> None:
    """OSError if nothing listens at HOST:PORT, after seconds; Ray itself would try for minutes."""
    host, colon, port = ray_address.rpartition(":")
    if colon and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
