"""psgd.train, but processes kill themselves: `mpirun --with-ft ulfm -n 4 python tests/dying.py DEATHS HOST ...`.

DEATHS: `all_gather:7:0 barrier+:9:2` kills process 0 before its call 7 of all_gather, and process 2 after its call 9 of
barrier; `barrier!:9:2 barrier~:9:1` kills process 2 while it waits in that call, to which process 1 comes later. HOST:
how many processes count as a host; 0: those that MPI takes for one.
"""

import os
import signal
import sys
import threading
import time

from psgd.group.mpi import fault_tolerant, world
from psgd.jobs.launch.command import main

OWNERS = (fault_tolerant.FaultTolerantMpi, world.World)
WAIT, LATE = 0.1, 0.5  # seconds, until a process that waits is killed, and until another one comes


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(call, number, when):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        now = len(calls) == number
        if now and when == "":
            kill()
        if now and when == "!":
            threading.Timer(WAIT, kill).start()
        if now and when == "~":
            time.sleep(LATE)
        answer = call(*arguments)
        if now and when == "+":
            kill()
        return answer

    return counted


def prepare(deaths, size):
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    for death in deaths.split():
        call, number, victim = death.split(":")
        name = call.rstrip("+!~")
        if int(victim) == rank:
            owner = next(owner for owner in OWNERS if hasattr(owner, name))
            setattr(owner, name, at_call(getattr(owner, name), int(number), call.removeprefix(name)))
    if size:
        world.split_by_host = lambda mpi, communicator: communicator.Split(rank // size)


if __name__ == "__main__":
    prepare(sys.argv.pop(1), int(sys.argv.pop(1)))
    sys.exit(main())
