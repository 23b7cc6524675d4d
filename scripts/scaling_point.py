"""One measurement of bench_scaling.py, in a process of its own: what it prints is microseconds.

python scripts/scaling_point.py step WIDTH DEPTH BATCH SECONDS
python scripts/scaling_point.py write|loading|epoch DIRECTORY EXAMPLES
"""

import sys
import time
from pathlib import Path

import numpy as np
from networks import Network

OUTPUTS = 10
FEATURES, GATHERED = 784, 250  # of the data in files: bytes an example, examples of a batch
READY_BYTES = 8 << 20  # of inputs that lie ready in memory


def network(width: int, depth: int, batch: int) -> Network:
    """Inputs are as many as the units of each of `depth` hidden layers."""
    return Network((*[width] * (depth + 1), OUTPUTS), "relu", "softmax", "cross-entropy", batch, "sgd", 1e-4)


def step(network: Network, seconds: float) -> float:
    """Microseconds a step. The first pass over the batches is not counted."""
    from psgd.data.dataset import Dataset
    from psgd.learners.layered_learner import WeightSettings
    from psgd.learners.learner import Batch, TrainState
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP
    from psgd.optimizers.optimizer import Optimizer
    from psgd.optimizers.rules import SGD
    from psgd.optimizers.schedule import Schedule

    size, width, dtype = network.batch, network.sizes[0], np.dtype(np.float32)
    # He's weights: through 64 layers Glorot's would bring numbers that are too small for float32's fast arithmetic.
    learner = MLP(network.sizes, network.activation, network.output, LOSSES[network.loss], dtype, WeightSettings("he"))
    count = min(64, max(2, READY_BYTES // (4 * size * width)))
    inputs = np.random.default_rng(0).standard_normal((count * size, width), dtype)
    read = Dataset(inputs, np.arange(len(inputs)) % OUTPUTS, OUTPUTS).reader(size, OUTPUTS, dtype)
    rows = [slice(start, start + size) for start in range(0, len(inputs), size)]
    batches = [Batch(*(part.copy() for part in read(some)), 0.0) for some in rows]
    optimizer, parameters = Optimizer(SGD(), Schedule(network.learning_rate)), learner.initial(0)
    moments, gradient = np.zeros((optimizer.rows, parameters.size), dtype), np.empty_like(parameters)
    learner.run(TrainState(parameters, moments, 0, gradient), optimizer, batches)
    began, passes = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds or not passes:
        passes += 1
        learner.run(TrainState(parameters, moments, passes * count, gradient), optimizer, batches)
    assert np.isfinite(learner.read_loss()), "the training diverged"
    return 1e6 * took / (passes * count)


def write(directory: Path, examples: int) -> None:
    directory.mkdir()
    inputs = np.random.default_rng(examples).integers(0, 256, (examples, FEATURES), np.uint8)
    np.save(directory / "x_train.npy", inputs)
    np.save(directory / "y_train.npy", np.arange(examples) % OUTPUTS)


def load_and_gather(directory: Path) -> tuple[float, float]:
    """Microseconds an example: of opening the files, and of dealing and gathering all that is in them once."""
    from psgd.config.settings import Npz
    from psgd.core.replica import Progress
    from psgd.data.sampling.shuffle import Shuffle
    from psgd.data.sources.load import load

    began = time.perf_counter()
    data = load(Npz(path=str(directory))).train
    loaded = time.perf_counter()
    read, steps = data.reader(GATHERED, data.outputs, np.dtype(np.float32)), len(data) // GATHERED
    for hand in Shuffle(len(data), GATHERED, 0).batches(0, np.array([steps]), 0, steps, Progress()):
        read(hand.rows)
    return 1e6 * (loaded - began) / len(data), 1e6 * (time.perf_counter() - loaded) / len(data)


if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    if kind == "step":
        print(step(network(*map(int, words[:3])), float(words[3])))
    elif kind == "write":
        write(Path(words[0]), int(words[1]))
    else:
        print(load_and_gather(Path(words[0]))[kind == "epoch"])
