"""Explains a run: its strategy's formula with its numbers, the weights of the workers, who waited for whom."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from psgd.compare.finished_run import read_summary
from psgd.compare.results_file import Json
from psgd.compare.single_run.formulas import bracketed, contraction_of, formula, weights_by_hand
from psgd.config.resolve import resolve
from psgd.config.settings import Settings
from psgd.config.value_checks import shown
from psgd.core.errors import DataError, UsageError
from psgd.core.wording import counted
from psgd.jobs.build import strategy_of
from psgd.jobs.files.metrics_file import check_numbers, read_rows
from psgd.strategy.strategy import Strategy
from psgd.training.stopwatch import TRAINING_PARTS

MOST_WEIGHTS = 5  # different sets of weights that are listed
MOST_WORKERS = 32  # that are listed
LARGEST = 1e18  # number of rounds, epochs, examples or bytes that is believed
OF_A_ROUND = ("round", "epoch", "bytes", "weights")  # numbers, the last for each worker
OF_THE_RUN = ("rounds", "epochs", "bytes_sent_per_worker", "worker_steps")
MOST_ROUNDS = 1000  # over which waiting is summed: plans repeat themselves after far fewer


class ExplainedRun(NamedTuple):
    settings: Settings
    strategy: Strategy
    rounds: list[Json]  # the lines of metrics about rounds
    summary: Json  # empty if the run has not ended

    @property
    def last(self) -> int:
        """How many rounds the run has done, as far as is known."""
        return int(self.summary["rounds"] if self.summary else self.rounds[-1]["round"])


def explain(directory: Path) -> list[str]:
    """Explain the run in `directory`, in lines. DataError if it is not a run, or its files are broken."""
    run = read(directory)
    settings, last = run.settings, run.last
    status = run.summary.get("status", "not ended")
    epochs = run.summary.get("epochs", run.rounds[-1]["epoch"])
    workers = counted(settings.worker_count, "worker")
    rounds = counted(last, "round")
    return [
        f"{directory}: {settings.strategy.name} with {workers}; {rounds}, {epochs:.2f} epochs ({status})",
        *formula(settings, run.strategy),
        *_weights(run),
        *_workers(run),
        *_measured(run),
        _sent(run),
    ]


def read(directory: Path) -> ExplainedRun:
    """Read the files of a run. DataError if they are missing or broken."""
    rounds = [row for row in read_rows(directory) if "weights" in row]
    if not rounds:
        raise DataError(f"{directory / 'metrics.jsonl'} has no round yet; let the run go on for a while")
    try:
        settings = resolve(str(directory / "config.yaml"), []).settings
    except UsageError as error:
        raise DataError(str(error)) from None
    summary = read_summary(directory)
    for row in rounds:
        _check(directory / "metrics.jsonl", row, OF_A_ROUND, settings.worker_count)
    if summary:
        _check(directory / "summary.json", summary, OF_THE_RUN, settings.worker_count)
    examples = round(rounds[-1]["examples"] / rounds[-1]["epoch"])
    return ExplainedRun(settings, strategy_of(settings, examples), rounds, summary)


def _check(file: Path, found: Json, names: tuple[str, str, str, str], workers: int) -> None:
    """DataError if one of `names`, of the examples or of the seconds is no number, or one that no run has."""
    rounds, epochs, sent, by_worker = names
    positive = (rounds, epochs, "examples")
    check_numbers(str(file), found, (*positive, sent, *(f"{part}_seconds" for part in TRAINING_PARTS)))
    for name in (*positive, sent):
        if not 0 <= found[name] < LARGEST or (name in positive and not found[name]):
            raise DataError(f"{file}: {name} is {shown(found[name])}, which no run has")
    values = found.get(by_worker)
    if not isinstance(values, list) or len(values) != workers:
        raise DataError(f"{file}: {by_worker} is {shown(values)}; expected a number for each of {workers} workers")
    check_numbers(f"{file}: {by_worker}", {str(i): value for i, value in enumerate(values)}, map(str, range(workers)))


def _weights(run: ExplainedRun) -> list[str]:
    """The weights of the recorded rounds: how many different ones, and the first and last."""
    if run.settings.worker_count == 1:
        return ["One worker: its weight is 1, and nobody waits."]
    rounds, batch = run.rounds, run.settings.training.batch_size_per_worker
    by_weights: dict[tuple[float, ...], list[int]] = {}
    for row in rounds:
        by_weights.setdefault(tuple(row["weights"]), []).append(row["round"])
    different = f"{len(by_weights)} different" if len(by_weights) > 1 else "always the same"
    lines = [f"Weights of the workers, recorded in {len(rounds):,} of {run.last:,} rounds, {different}:"]
    for weights, where in list(by_weights.items())[:MOST_WEIGHTS]:
        lines.append(f"  {bracketed(weights)} in {len(where):,} of these, first in round {where[0]:,}")
    if len(by_weights) > MOST_WEIGHTS:
        others = f"{len(by_weights) - MOST_WEIGHTS:,} others"
        lines.append(f"  and {others}; in the last, {bracketed(rounds[-1]['weights'])}")
    plans = [run.strategy.plan.steps(row["round"] - 1) for row in rounds]
    found = [contraction_of(run.strategy, plan, batch, row["weights"]) for plan, row in zip(plans, rounds, strict=True)]
    contractions = Counter(r for r, plan in zip(found, plans, strict=True) if r is not None and len({*plan}) > 1)
    if contractions:
        each = ", ".join(f"{r:g} in {n:,}" for r, n in contractions.most_common())
        lines.append(f"  r in these rounds: {each}")
        last = max(i for i, r in enumerate(found) if r is not None)
        by_hand = weights_by_hand(plans[last], found[last] or 1.0)
        lines.append(f"  round {rounds[last]['round']:,} by hand: {by_hand}")
    return lines


def _workers(run: ExplainedRun) -> list[str]:
    """Speed, steps and waiting of each worker, and who waited for whom."""
    workers = run.settings.worker_count
    speeds = run.settings.cluster.speeds or [1.0] * workers
    looked_at = min(run.last, MOST_ROUNDS)
    plans = [run.strategy.plan.steps(round) for round in range(looked_at)]
    times = [[steps / speed for steps, speed in zip(plan, speeds, strict=True)] for plan in plans]
    slowest = sum(max(each) for each in times)
    waits = [1 - sum(each[worker] for each in times) / slowest if slowest else 0.0 for worker in range(workers)]
    steps = run.summary.get("worker_steps") or [sum(plan[worker] for plan in plans) for worker in range(workers)]
    lines = ["  worker   speed       steps  a round  waits, by its speed"]
    for worker in range(min(workers, MOST_WORKERS)):
        mean = sum(plan[worker] for plan in plans) / looked_at
        lines.append(
            f"  {worker:>6}  {speeds[worker]:>6g}  {steps[worker]:>10,}  {mean:>7.4g}  {waits[worker]:.1%} of the time"
        )
    if workers > MOST_WORKERS:
        lines.append(f"  and {workers - MOST_WORKERS:,} more workers")
    return lines + _waiting(run, times)


def _waiting(run: ExplainedRun, times: Sequence[Sequence[float]]) -> list[str]:
    """Say who waited for whom, as the speeds have it."""
    if run.settings.worker_count == 1:
        return []
    last = Counter(
        worker for each in times if max(each) > min(each) for worker, time in enumerate(each) if time == max(each)
    )
    if not last:
        return ["By their speeds and steps all workers end a round together: nobody waits."]
    names = ", ".join(f"worker {worker} in {count:,}" for worker, count in last.most_common(3))
    same = len({*run.strategy.plan.steps(0)}) == 1
    why = "all take as many steps, whatever their speeds" if same else "steps are whole numbers, so that rounds differ"
    return [f"Others waited for {names} of {len(times):,} rounds: {why}."]


def _measured(run: ExplainedRun) -> list[str]:
    """Where the time of the first process went."""
    seconds = {
        part: run.summary.get(f"{part}_seconds", sum(row[f"{part}_seconds"] for row in run.rounds))
        for part in TRAINING_PARTS
    }
    total = sum(seconds.values())
    names = {"compute": "computing", "wait": "waiting for others", "combine": "combining"}
    parts = ", ".join(
        f"{names[part]} {value:.4g} s ({value / total if total else 0:.0%})" for part, value in seconds.items()
    )
    processes = run.summary.get("processes")
    where = f" of {processes} ({run.summary.get('group')})" if processes else ""
    return [f"Measured on process 0{where}: {total:.4g} s, of which {parts}."]


def _sent(run: ExplainedRun) -> str:
    if run.settings.worker_count == 1:
        return "Nothing is sent."
    sent = run.summary["bytes_sent_per_worker"] if run.summary else run.rounds[-1]["bytes"]
    return f"Contributions of each worker: {sent:,.0f} bytes, {sent / run.last:,.0f} a round."
