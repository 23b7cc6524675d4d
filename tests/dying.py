"""psgd.train, but processes kill themselves: `mpirun --with-ft ulfm -n 4 python tests/dying.py DEATHS HOST ...`.

DEATHS: `all_gather:7:0 barrier+:9:2` kills process 0 before its call 7 of all_gather, and process 2 after its call 9 of
barrier. HOST: how many processes count as a host.
"""

import os
import signal
import sys

from psgd.group.mpi import fault_tolerant, world
from psgd.jobs.launch.command import main

OWNERS = (fault_tolerant.FaultTolerantMpi, world.World)


def dying(call, number, after):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        if len(calls) == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*arguments)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return counted


if __name__ == "__main__":
    rank, size = int(os.environ["OMPI_COMM_WORLD_RANK"]), int(sys.argv.pop(2))
    for death in sys.argv.pop(1).split():
        name, number, victim = death.split(":")
        if int(victim) == rank:
            owner = next(owner for owner in OWNERS if hasattr(owner, name.rstrip("+")))
            setattr(owner, name.rstrip("+"), dying(getattr(owner, name.rstrip("+")), int(number), name.endswith("+")))
    world.split_by_host = lambda mpi, communicator: communicator.Split(rank // size)
    sys.exit(main())
