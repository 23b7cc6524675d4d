"""Forks processes from one that has little in its memory. From pytest's own, with all that tests have imported and
made, each would take many times as long; a new Python would import psgd first.

`python tests/forks.py FD` is that process. What a fork runs is pickled for it: a function of a module, or a partial of
one. It does not see what a test has patched.
"""

import atexit
import gc
import importlib
import os
import pickle
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path

_asking = threading.Lock()
Body = Callable[..., object]  # of a fork: called with its end of a pipe, and with the files that it is given

# What commands of psgd import, and what they import only when they use it.
MODULES = ("psgd.jobs.launch.command", "psgd.jobs.launch.without_mpi", "psgd.jobs.process", "psgd.jobs.build",
           "psgd.data.sources.load", "scipy.linalg.blas")  # fmt: skip


def fork(body: Body, theirs: Connection, *files: int) -> int:
    """Start a process that calls `body` with its end of a pipe -> its id. The other end is told of its death."""
    with _asking:
        control, server = _server()
        control.send_bytes(pickle.dumps((body, len(files))))
        for file in (theirs.fileno(), *files):
            send_handle(control, file, server.pid)
        return int(control.recv())


def fork_command(
    module: str, arguments: Sequence[str], directory: str, variables: Mapping[str, str], stdout: int, stderr: int
) -> tuple[int, Connection]:
    """Start what `python -m module arguments` would do, in a session of its own. Returns the id of the session, and a
    connection that receives the exit code, as subprocess has it."""
    ours, theirs = Pipe()
    with theirs:
        body = partial(_command, module, list(arguments), directory, dict(variables))
        return fork(body, theirs, stdout, stderr), ours


@cache
def _server() -> tuple[Connection, "subprocess.Popen[bytes]"]:
    ours, theirs = Pipe()
    with theirs:
        tests = Path(__file__).resolve().parent
        variables = {"PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}", "PYTHONUNBUFFERED": "1"}
        server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **variables},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for pytest, at whose end it ends
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours, server


def _serve(control: Connection) -> None:
    """Fork as asked, until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    for module in MODULES:
        importlib.import_module(module)
    while True:
        try:
            body, count = pickle.loads(control.recv_bytes())  # imports what the fork needs, the first time
        except EOFError:
            return
        gc.freeze()  # or a collection in a fork would copy the pages of all objects
        handles = [recv_handle(control) for _ in range(1 + count)]
        process = os.fork()
        if not process:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            body(Connection(handles[0]), *handles[1:])
            os._exit(0)
        for handle in handles:
            os.close(handle)
        control.send(process)


def _command(
    module: str, arguments: list[str], directory: str, variables: dict[str, str], own: Connection, *streams: int
) -> None:
    os.setsid()
    process = os.fork()
    if process:
        own.send(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        return
    own.close()
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[0], sys.argv = directory, ["", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
