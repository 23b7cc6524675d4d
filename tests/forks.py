"""Forks processes from one that has little in its memory. From pytest's own, with all that tests have imported and
made, each would take many times as long.

`python tests/forks.py FD` is that process. What a fork runs is pickled for it: a function of a module, or a partial of
one. It does not see what a test has patched.
"""

import atexit
import gc
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle

Body = Callable[[Connection], object]


def fork(body: Body, theirs: Connection) -> int:
    """Start a process that calls `body` with its end of a pipe -> its id. The other end is told of its death."""
    control, server = _server()
    control.send_bytes(pickle.dumps(body))
    send_handle(control, theirs.fileno(), server.pid)
    return int(control.recv())


@cache
def _server() -> tuple[Connection, "subprocess.Popen[bytes]"]:
    ours, theirs = Pipe()
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours, server


def _serve(control: Connection) -> None:
    """Fork as asked, until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        try:
            body: Body = pickle.loads(control.recv_bytes())  # imports what the fork needs, the first time
        except EOFError:
            return
        gc.freeze()  # or a collection in a fork would copy the pages of all objects
        own = Connection(recv_handle(control))
        process = os.fork()
        if not process:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            warnings.simplefilter("error")  # as in pytest
            body(own)
            os._exit(0)
        own.close()
        control.send(process)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
