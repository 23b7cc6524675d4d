"""The formulas of the strategies with the numbers of a run, as plain text."""

from collections.abc import Sequence

import numpy as np

from psgd.config.settings import Adam, GradientAveraging, Optimizer, Outer, Settings, Sgd, WeightedAveraging
from psgd.core.wording import counted
from psgd.strategy.strategy import Strategy, WorkDone
from psgd.strategy.weights import ByDelay

MOST_TERMS = 4  # of a sum that is written out
MOST_NUMBERS = 8  # of a list that is written out
CLOSE = 1e-8  # between recorded weights, which have nine decimals, and those of a contraction


def formula(settings: Settings, strategy: Strategy) -> list[str]:
    """Lines that say what is done in a round."""
    workers, optimizer = settings.worker_count, settings.optimizer
    gradient = f"mean gradient of {settings.training.batch_size_per_worker} examples of its own"
    if isinstance(settings.strategy, GradientAveraging):
        mean = f"({_sum('g_{}', workers)}) / {workers}" if workers > 1 else "g_0"
        return [
            f"In a round, each worker computes g_i, at w the {gradient}{_penalty(optimizer, 'w')}. Then",
            f"  {_update(optimizer, 'w', 'g')},   g = {mean}",
            *_rate(optimizer),
        ]
    steps = max(strategy.plan.steps(0))
    most = "up to " * settings.cluster.unequal
    lines = [
        f"In a round, each worker sets w_i = w and takes {most}{counted(steps, 'step')},",
        f"  {_update(optimizer, 'w_i', 'g_i')},   g_i: the {gradient}{_penalty(optimizer, 'w_i')}",
        *_rate(optimizer),
    ]
    outer = settings.strategy.outer
    average, step = ("a", _outer_step(outer)) if outer else ("w", [])
    if not isinstance(settings.strategy, WeightedAveraging):
        mean = f"({_sum('w_{}', workers)}) / {workers}" if workers > 1 else "w_0"
        return [*lines, "Then all are averaged (Zinkevich et al. 2010, algorithm 2):", f"  {average} = {mean}", *step]
    return [
        *lines,
        "Then all are averaged by weights (Cheng et al. 2020, WP-SGD, eq. 6):",
        f"  {average} = {_sum('q_{0} w_{0}', workers)},   q_i = r^T_i / ({_sum('r^T_{}', workers)})",
        "  T_i: by how many steps worker i is behind the fastest of the round",
        f"  r: {_contraction(settings.strategy, strategy)}",
        *step,
    ]


def contraction_of(strategy: Strategy, steps: Sequence[int], batch: int, weights: Sequence[float]) -> float | None:
    """The contraction that gives these recorded weights, the largest of several; None if none does, as when a worker
    was excluded from the round, or if the strategy has none."""
    if not isinstance(strategy.weights, ByDelay) or not any(steps):
        return None
    taken = np.array(steps, np.int64)
    distances = np.abs(strategy.weights.of(WorkDone(taken, taken * batch)) - np.array(weights)).max(axis=1)
    best = int(np.argmin(distances))
    return strategy.weights.contractions[best] if distances[best] <= CLOSE else None


def weights_by_hand(steps: Sequence[int], contraction: float) -> str:
    """The weights of a round by equation 6, in numbers; for few workers all of them."""
    delays = [max(steps) - each for each in steps]
    powers = [contraction**delay if each else 0.0 for delay, each in zip(delays, steps, strict=True)]
    return (
        f"T = {bracketed(delays)}, r = {contraction:g}: r^T = {bracketed(powers)}, sum {sum(powers):.5g}, "
        f"q = {bracketed([power / sum(powers) for power in powers])}"
    )


def bracketed(values: Sequence[float]) -> str:
    """Numbers in brackets, (0.25, 0.75); of many, the first MOST_NUMBERS."""
    shown = ", ".join(f"{value:.4g}" for value in values[:MOST_NUMBERS])
    return f"({shown}{', ...' * (len(values) > MOST_NUMBERS)})"


def _sum(term: str, workers: int) -> str:
    """The sum over all workers of a term, whose placeholder is the worker's number."""
    shown = [term.format(worker) for worker in range(workers)]
    return " + ".join(shown if workers <= MOST_TERMS else [*shown[: MOST_TERMS - 2], "...", shown[-1]])


def _penalty(optimizer: Optimizer, w: str) -> str:
    """What the penalties l2 and l1 add to a gradient."""
    terms = [f"{optimizer.l2:g} {w}"] * (optimizer.l2 > 0) + [f"{optimizer.l1:g} sign({w})"] * (optimizer.l1 > 0)
    return f", plus {' + '.join(terms)} but for biases" if terms else ""


def _update(optimizer: Optimizer, w: str, g: str, momentum: str = "v") -> str:
    rate, v = f"{optimizer.learning_rate:g}", momentum
    if isinstance(optimizer, Adam):
        return f"{w} <- {w} - {rate} m / (sqrt(v) + {optimizer.epsilon:g}), {optimizer.name}'s moments m and v of {g}"
    assert isinstance(optimizer, Sgd)
    if not optimizer.momentum:
        return f"{w} <- {w} - {rate} {g}"
    step = f"({g} + {optimizer.momentum:g} {v})" if optimizer.nesterov else v
    return f"{v} <- {optimizer.momentum:g} {v} + {g}, {w} <- {w} - {rate} {step}"


def _outer_step(outer: Outer) -> list[str]:
    """The step towards the average a."""
    step = _update(Sgd(**outer.model_dump()), "w", "d", momentum="u")
    return ["and the outer optimizer takes a step towards the average:", f"  {step},   d = w - a"]


def _rate(optimizer: Optimizer) -> list[str]:
    """What else determines the length of a step."""
    found = []
    if optimizer.warmup:
        found.append(f"the learning rate rises to {optimizer.learning_rate:g} in the first {optimizer.warmup:g} epochs")
    if optimizer.schedule == "cosine":
        found.append(f"the learning rate falls from {optimizer.learning_rate:g} to 0, as a cosine")
    if optimizer.schedule == "step":
        found.append(
            f"every {optimizer.decay_every:g} epochs the learning rate is {optimizer.decay_factor:g} of before"
        )
    if optimizer.clip_norm is not None:
        found.append(f"gradients longer than {optimizer.clip_norm:g} are shortened to it")
    return [f"  ({'; '.join(found)})"] if found else []


def _contraction(settings: WeightedAveraging, strategy: Strategy) -> str:
    assert isinstance(strategy.weights, ByDelay)
    values = ", ".join(f"{value:g}" for value in strategy.weights.contractions)
    if settings.contraction == "holdout":
        tried = "each tried in a combination; any, if all took as many steps"
        return f"the one of {values} with the least validation loss, {tried}"
    return f"{values}, the contraction" + " (1 - learning rate times l2)" * (settings.contraction == "auto")
