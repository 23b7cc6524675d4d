"""One process of small jobs, for gpu_check. Under mpirun, all processes train together:

    mpirun -n N python scripts/gpu_job.py [--pretend] [--gpus all|even]
    mpirun -n N python scripts/gpu_job.py --combine [--pretend]
    python scripts/gpu_job.py --alone [--pretend]       # a few small trainings, for compute-sanitizer

With `even`, every second process trains on the CPU. The first process prints, as JSON, for each strategy whether all
replicas have the same bits, and how far they are from those of a training on the CPU alone, as a share of the distance
moved. With --combine, combinations are made on the GPUs, and also whether those made on the host have the same bits.
"""

import argparse
import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gpu_check_stage import opener  # noqa: E402
from gpu_training import share  # noqa: E402
from jobs import NAMES, job, strategies  # noqa: E402
from pretend.jobs import task_of  # noqa: E402

from psgd.backends.cuda import driver  # noqa: E402
from psgd.backends.cuda.cuda_workers import CudaWorkers  # noqa: E402
from psgd.core.replica import Replica  # noqa: E402
from psgd.group.mpi.open_transport import open_transport  # noqa: E402
from psgd.group.mpi.world import World  # noqa: E402
from psgd.group.serial import Serial  # noqa: E402
from psgd.group.transport import Transport  # noqa: E402
from psgd.jobs.files.summary import parameters_sha256  # noqa: E402
from psgd.training.device_replica import can_combine  # noqa: E402
from psgd.training.job import Job  # noqa: E402
from psgd.training.loop import Loop  # noqa: E402
from psgd.training.recorder import Recorder  # noqa: E402

WORKERS = 4
SECONDS = 30.0  # that processes wait for one another


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretend", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--gpus", choices=("all", "even"), default="all")
    parser.add_argument("--combine", action="store_true")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.pretend)))
        return 0
    world, found = World(), {}
    on_gpu = options.gpus == "all" or world.process % 2 == 0
    device = opened(options.pretend, world.process) if on_gpu else None
    for name in NAMES:
        one, whole = job(strategies(WORKERS)[name], WORKERS), not options.pretend
        transport = open_transport(world, SECONDS)
        loop = trained(at_gpu(one, device, whole, options.combine) if on_gpu else one, transport)
        parameters = loop.result.parameters.copy()
        hashes = transport.all_gather(parameters_sha256(parameters).encode())
        transport.close()
        if world.process == 0:
            cpu = job(strategies(WORKERS)[name], WORKERS)
            far = share(parameters, trained(cpu, Serial()).result.parameters, cpu.learner.initial(cpu.seed))
            found[name] = {"same": len(set(hashes)) == 1, "share": far}
        if options.combine:
            transport = open_transport(world, SECONDS)
            staged = trained(at_gpu(one, device, whole), transport).result.parameters.copy()
            transport.close()
            if world.process == 0:
                found[name] |= {
                    "as_staged": staged.tobytes() == parameters.tobytes(),
                    "on_devices": (type(loop.replica) is not Replica) == can_combine(one.strategy),
                }
    process = world.process
    world.close()
    if process == 0:
        print(json.dumps(found))
    return 0


def opened(pretend: bool, process: int) -> Any:
    """This process's GPU: they count from the first again where there are fewer GPUs than processes."""
    if pretend:
        return opener(pretend)()
    from psgd.backends.cuda.cupy_device import open_device

    return open_device(process % max(1, driver.gpu_count()))


def trained(one: Job, transport: Transport) -> Loop:
    """At its end."""
    record = Recorder(None, len(one.data.train), one.epochs, "", quiet=True)
    loop = Loop(one, transport, record, None, segment_seconds=1e9)
    loop.run()
    return loop


def at_gpu(one: Job, device: Any, whole: bool, combines: bool = False) -> Job:
    """`whole`: the network is kept in shared memory where it fits. `combines`: combinations are made on the GPU."""
    combines = combines and can_combine(one.strategy)
    return replace(one, device=CudaWorkers(device, task_of(one), whole), combines_on_devices=combines)


def alone(pretend: bool) -> dict[str, float]:
    """Jobs that together use nearly all kernels: distances from the CPU's, as above."""
    found, device = {}, opened(pretend, 0)
    for name, whole in product(NAMES, (False,) if pretend else (False, True)):
        one = job(strategies(2)[name], 2, epochs=0.4)
        parameters = trained(at_gpu(one, device, whole, combines=True), Serial()).result.parameters
        cpu = trained(one, Serial()).result.parameters
        found[f"{name}, {whole}"] = share(parameters, cpu, one.learner.initial(one.seed))
    return found


if __name__ == "__main__":
    sys.exit(main())
