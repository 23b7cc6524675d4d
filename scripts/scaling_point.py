"""Takes one measurement of bench_scaling.py in a process of its own and prints microseconds.

python scripts/scaling_point.py step WIDTH DEPTH BATCH SECONDS
python scripts/scaling_point.py write|loading|epoch DIRECTORY EXAMPLES
"""

import sys
import time
from pathlib import Path

import numpy as np
from networks import Network

OUTPUTS = 10
FEATURES, GATHERED = 784, 250  # bytes an example in the files; examples of a batch
READY_BYTES = 8 << 20  # of inputs in memory


def network(width: int, depth: int, batch: int) -> Network:
    """A network with `width` inputs and `depth` hidden layers of `width` units."""
    return Network((*[width] * (depth + 1), OUTPUTS), "relu", "softmax", "cross-entropy", batch, "sgd", 1e-4)


def step(network: Network, seconds: float) -> float:
    """Microseconds a step, not counting the first pass over the batches."""
    from psgd.data.dataset import Dataset
    from psgd.learners.layered_learner import WeightSettings
    from psgd.learners.learner import Batch, TrainState
    from psgd.learners.losses import LOSSES
    from psgd.learners.mlp import MLP
    from psgd.optimizers.optimizer import Optimizer
    from psgd.optimizers.rules import SGD
    from psgd.optimizers.schedule import Schedule

    size, width, dtype = network.batch, network.sizes[0], np.dtype(np.float32)
    # He's weights: with Glorot's, the outputs of 64 layers would be denormal float32 numbers, which are slow.
    learner = MLP(network.sizes, network.activation, network.output, LOSSES[network.loss], dtype, WeightSettings("he"))
    count = min(64, max(2, READY_BYTES // (4 * size * width)))
    inputs = np.random.default_rng(0).standard_normal((count * size, width), dtype)
    read = Dataset(inputs, np.arange(len(inputs)) % OUTPUTS, OUTPUTS).reader(size, OUTPUTS, dtype)
    rows = [slice(start, start + size) for start in range(0, len(inputs), size)]
    batches = [Batch(*(part.copy() for part in read(some)), 0.0) for some in rows]
    optimizer, parameters = Optimizer(SGD(), Schedule(network.learning_rate)), learner.initial(0)
    moments, gradient = np.zeros((optimizer.moment_rows, parameters.size), dtype), np.empty_like(parameters)
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
    """Microseconds an example of (opening the files, sampling and gathering each example once)."""
    from psgd.config.settings import Npz
    from psgd.core.replica import Progress
    from psgd.data.sampling.shuffle import Shuffle
    from psgd.data.sources.load import load_source

    began = time.perf_counter()
    data = load_source(Npz(path=str(directory))).train
    loaded = time.perf_counter()
    read, steps = data.reader(GATHERED, data.outputs, np.dtype(np.float32)), len(data) // GATHERED
    for batch in Shuffle(len(data), GATHERED, 0).batches(0, (steps,), 0, steps, Progress()):
        read(batch.rows)
    return 1e6 * (loaded - began) / len(data), 1e6 * (time.perf_counter() - loaded) / len(data)


if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    if kind == "step":
        print(step(network(*map(int, words[:3])), float(words[3])))
    elif kind == "write":
        write(Path(words[0]), int(words[1]))
    else:
        print(load_and_gather(Path(words[0]))[kind == "epoch"])
