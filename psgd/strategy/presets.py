"""The named strategies: which parts each of them is made of.

gradient-averaging   synchronous minibatch SGD: one gradient a round, one optimizer step for all
parameter-averaging  Zinkevich, Weimer, Smola, Li, NIPS 2010, algorithm 2 every `period` steps (theirs: at the end)
weighted-averaging   Cheng, Li, Zhang, WP-SGD, JPDC 145, 2020, algorithm 1 every `period` steps of the fastest worker
                     (their algorithm 5 without the asynchrony inside a node)

The last two may have an outer optimizer, which takes a step towards the average in place of the average itself.
"""

from collections.abc import Sequence

from psgd.optimizers.optimizer import Optimizer
from psgd.strategy.applications import GradientStep, OuterStep, Replace
from psgd.strategy.local_work import LocalDescent, OneGradient
from psgd.strategy.plans import EqualPlan, PacedPlan
from psgd.strategy.strategy import Application, OptimizerState, Strategy
from psgd.strategy.weights import ByDelay, ByExamples, Uniform

# Contractions tried for `contraction: holdout`, from uniform averaging, which wins ties, to the fastest worker alone.
HOLDOUT = (1.0, 0.9999, 0.999, 0.99, 0.97, 0.9, 0.5)


def gradient_averaging(workers: int, optimizer: Optimizer) -> Strategy:
    return Strategy(EqualPlan(workers), OneGradient(), ByExamples(), GradientStep(optimizer))


def parameter_averaging(
    workers: int, period: int, optimizer: Optimizer, state: OptimizerState = "keep", outer: Optimizer | None = None
) -> Strategy:
    return Strategy(EqualPlan(workers, period), LocalDescent(optimizer, state), Uniform(), _towards_average(outer))


def weighted_averaging(
    plan: PacedPlan,
    optimizer: Optimizer,
    state: OptimizerState = "keep",
    contractions: Sequence[float] = HOLDOUT,
    outer: Optimizer | None = None,
) -> Strategy:
    """Several contractions are candidates, of which the best on validation data is taken in each round."""
    return Strategy(plan, LocalDescent(optimizer, state), ByDelay(tuple(contractions)), _towards_average(outer))


def _towards_average(outer: Optimizer | None) -> Application:
    return OuterStep(outer) if outer else Replace()
