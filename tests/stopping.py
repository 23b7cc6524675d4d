"""psgd.train, but process 1 stops itself at an event: `mpirun -n 3 python tests/stopping.py EVENT [its arguments]`.

Events: start (before MPI is initialized), share (data), memory (before the transport makes its memory).
"""

import os
import signal
import sys

from psgd.group.mpi import library, transport, world
from psgd.jobs.launch.command import main

if __name__ == "__main__":
    rank, event = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))), sys.argv.pop(1)
    world.INITIAL_SECONDS = 3.0

    def stop_before(function):
        def stopping(*arguments, **named):
            if rank == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            return function(*arguments, **named)

        return stopping

    if event == "start":
        library.initialize = stop_before(library.initialize)
    if event == "share":
        world.World.load_once_per_host = stop_before(world.World.load_once_per_host)
    if event == "memory":
        transport.Mpi.memory = stop_before(transport.Mpi.memory)
    sys.exit(main())
