"""A learner whose answer is known in closed form: every coordinate is a replicate of f(w) = curvature (w - w*)^2 / 2.

The data set holds only the examples' numbers; each number seeds the noise of all coordinates. So every example has a
noise of its own, which is the same for every strategy and group.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple, final

import numpy as np

from psgd.data.dataset import Data, Dataset
from psgd.data.sampling.shuffle import Shuffle
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.learners.learner import Batch, Learner
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD
from psgd.optimizers.schedule import Schedule
from psgd.strategy.plans import PacedPlan
from psgd.strategy.presets import gradient_averaging, parameter_averaging, weighted_averaging
from psgd.strategy.strategy import Strategy
from psgd.training.job import Job
from psgd.training.loop import Loop
from psgd.training.recorder import Recorder

OPTIMUM = -1.0


class Problem(NamedTuple):
    """The setting of the closed forms, and the symbols they use."""

    replicates: int = 100_000
    e0: float = 3.0  # the start's distance from the optimum
    eta: float = 0.1
    curvature: float = 0.5  # lambda
    s2: float = 4.0  # variance of the additive noise
    tau2: float = 0.0  # of the multiplicative noise

    @property
    def r(self) -> float:
        return 1.0 - self.eta * self.curvature

    @property
    def v_inf(self) -> float:
        return self.eta * self.s2 / (self.curvature * (2.0 - self.eta * self.curvature))

    def sgd(self) -> Optimizer:
        return Optimizer(SGD(), Schedule(self.eta))

    def gradient_averaging(self, workers: int) -> Strategy:
        return gradient_averaging(workers, self.sgd())

    def parameter_averaging(self, workers: int, period: int) -> Strategy:
        return parameter_averaging(workers, period, self.sgd(), "keep")

    def weighted_averaging(self, steps: tuple[int, ...], *contractions: float) -> Strategy:
        """Worker i takes steps[i] in each round. Several contractions are candidates."""
        pace = PacedPlan(max(steps), tuple(Fraction(n, max(steps)) for n in steps))
        return weighted_averaging(pace, self.sgd(), "keep", contractions)


@final
class Quadratic(Learner):
    """gradient = (curvature + z) (w - w*) + xi, means over the batch; Var xi = s2, Var z = tau2, all independent."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.size = problem.replicates
        self.dtype = np.dtype(np.float64)
        self._sum = 0.0

    def initial(self, seed: int) -> np.ndarray:
        return np.full(self.size, OPTIMUM + self._problem.e0)

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        problem, e, examples = self._problem, parameters - OPTIMUM, batch.X[:, 0]
        np.multiply(e, problem.curvature, out=out)
        for example in examples.tolist():
            draw = np.random.Generator(np.random.Philox(key=int(example)))
            out += np.sqrt(problem.s2) / len(examples) * draw.standard_normal(self.size)
            if problem.tau2:
                out += np.sqrt(problem.tau2) / len(examples) * draw.standard_normal(self.size) * e
        self._sum += len(examples) * self._loss(e)

    def read_loss(self) -> float:
        loss, self._sum = self._sum, 0.0
        return loss

    def score(self, parameters: np.ndarray, X: np.ndarray, T_BO: np.ndarray) -> tuple[float, int]:
        return len(X) * self._loss(parameters - OPTIMUM), 0

    def name(self, index: int) -> str:
        return f"replicate {index}"

    def _loss(self, e: np.ndarray) -> float:
        return 0.5 * self._problem.curvature * float(np.vdot(e, e)) / self.size


def numbers(examples: int) -> Data:
    ids = np.arange(examples, dtype=np.float64).reshape(-1, 1)
    dataset = Dataset(ids, np.zeros((examples, 1)), classes=0)
    return Data(dataset, None, dataset, "numbers")  # the score depends on the parameters alone


def train(job: Callable[[], Job], processes: int | None, segment_seconds: float = 1e9) -> np.ndarray:
    """The final parameters, from the serial group or from threads, which must all have the same."""

    def main(transport: Transport) -> np.ndarray:
        own = job()
        record = Recorder(None, len(own.data.train), own.epochs, "", quiet=True)
        return Loop(own, transport, record, segment_seconds=segment_seconds).run().parameters.copy()

    if processes is None:
        return main(Serial())
    finals = run_threads(processes, 30.0, main)
    assert all(np.array_equal(finals[0], other) for other in finals)
    return finals[0]


def errors(problem: Problem, strategy: Strategy, steps: int, processes: int | None = None) -> np.ndarray:
    """w - w* of all replicates when all workers together have taken `steps` steps of one example."""
    workers, data = len(strategy.plan.steps(0)), numbers(steps)

    def job() -> Job:
        return Job(workers, strategy, Quadratic(problem), data, Shuffle(len(data.train), 1, 0), outputs=1, epochs=1.0)

    return train(job, processes) - OPTIMUM
