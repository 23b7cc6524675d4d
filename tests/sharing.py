"""Run under mpirun by test_mpi.py: the processes of a host share the data that one of them loads."""

import sys

import numpy as np

from psgd.data.dataset import Data, Dataset
from psgd.group.mpi import host_memory
from psgd.group.mpi.open_transport import open_transport
from psgd.group.mpi.world import World

shared = []


def share_and_note(peers, size):
    shared.append(share(peers, size))
    return shared[-1]


share, host_memory.share = host_memory.share, share_and_note
world = World()
process = world.process
inputs, targets = np.arange(60_000, dtype=np.uint8).reshape(-1, 6), np.arange(10_000) % 3


def make() -> Data:
    print("made", flush=True)
    return Data(Dataset(inputs, targets, 3, 0.5), None, None, "note", {"kind": "scale"})


data = world.load_once_per_host(make)
train = data.train
assert isinstance(train, Dataset)
assert (train.inputs == inputs).all()
assert (train.targets == targets).all()
assert (train.classes, train.scale, data.note, data.preparation) == (3, 0.5, "note", {"kind": "scale"})
assert not train.inputs.flags.writeable
assert train.inputs.ctypes.data % 64 == train.targets.ctypes.data % 64 == 0
world.all_gather(b"")
if process == 1:  # without telling the others
    shared[-1][0] = 200
world.all_gather(b"")
assert train.inputs[0, 0] == 200, "another copy"
print("same", flush=True)

failed = world.load_once_per_host(lambda: None)
assert failed is None

if process == 0:
    np.save(sys.argv[1], inputs)
world.all_gather(b"")
mapped = world.load_once_per_host(lambda: np.load(sys.argv[1], mmap_mode="r"))
assert isinstance(mapped, np.memmap)
print("mapped", flush=True)
transport = open_transport(world, 20.0)
transport.close()
world.close()
