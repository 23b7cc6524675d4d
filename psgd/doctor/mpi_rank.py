"""The program of the trial `mpirun -n 2 python -m psgd.doctor.mpi_rank`: starts as a process of a job does, and prints
how many processes there are, or what is wrong, as a line of JSON."""

import json
import os
import signal
import sys

SECONDS = 20  # after which it ends itself, whatever becomes of its launcher


def main() -> int:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    from psgd.core.errors import PsgdError
    from psgd.group.mpi.world import World

    try:
        world = World()
    except PsgdError as error:
        _say({"error": str(error)})
        return error.code
    rows = world.all_gather(bytes([world.process]))
    _say({"processes": len(rows)})
    world.close()
    return 0


def _say(message: dict[str, object]) -> None:
    """Print a line in one piece, so that the launcher does not mix it with the other process's."""
    os.write(sys.stdout.fileno(), f"{json.dumps(message)}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
