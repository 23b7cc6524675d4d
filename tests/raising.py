"""psgd.train, but process 1 raises in its third segment: `mpirun -n 4 python tests/raising.py [its arguments]`."""

import os
import sys

from psgd.jobs.launch.command import main

if __name__ == "__main__":
    from psgd.training.steps.local_steps import LocalSteps

    rank = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")))
    run, local_steps = LocalSteps.run, []

    def raising(self, replica, plan):
        local_steps.append(replica.progress.round)
        if rank == 1 and len(local_steps) == 3:
            raise ZeroDivisionError("deliberately, in round 3")
        return run(self, replica, plan)

    LocalSteps.run = raising
    sys.exit(main())
