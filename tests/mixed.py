"""One process's part in jobs under mpirun: those with even numbers have a pretended GPU, the others train on the CPU.
With --combine all have one, and combine on them.

The first prints, as JSON, each strategy's hash, or null if the replicas differ."""

import json
import sys

from jobs import NAMES, job, strategies, train
from pretend.jobs import on_pretend

from psgd.group.mpi.open_transport import open_transport
from psgd.group.mpi.world import World

if __name__ == "__main__":
    world, found, combines = World(), {}, "--combine" in sys.argv
    on_gpu = combines or world.process % 2 == 0
    for name in NAMES:
        transport, one = open_transport(world, 30.0), job(strategies(4)[name], 4)
        own = train(on_pretend(one, combines=combines) if on_gpu else one, transport)[0]
        rows = transport.all_gather(own.encode())
        found[name] = own if len(set(rows)) == 1 else None
        transport.close()
    process = world.process
    world.close()
    if process == 0:
        print(json.dumps(found))
