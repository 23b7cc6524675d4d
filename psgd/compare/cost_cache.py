"""Costs of cells on this machine, kept in costs.json beside the runs: measured once for all cells of equal work, and
contention once for all cells of the same network."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from psgd.backends.blas import limit_after_numpy
from psgd.compare.costs import measure, measure_choice, measure_contention
from psgd.compare.idle import BUSY, busy_cores
from psgd.config.resolve import chooses_on_validation
from psgd.config.settings import Averaging, ParameterAveraging, Settings, WeightedAveraging
from psgd.core.files import write_json
from psgd.core.log import LOG
from psgd.core.version import __version__
from psgd.data.dataset import Data
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job

TRIES = 3  # of each measurement; raised, other programs disturb less, and each kind of work takes half a second more
ROUNDS, CONTENTION, CHOICE = "of_rounds", "of_contention", "of_choice"  # in the names of entries in costs.json
_NOT_WORK = {
    "optimizer": ["learning_rate", "schedule", "warmup", "decay_every", "decay_factor", "beta1", "beta2", "epsilon"],
    "training": ["seed", "epochs", "evaluate_every"],
}
_IF_USED = ("l1", "l2", "momentum", "clip_norm")  # of an optimizer: whether it is there is work, whatever its size


@final
class CostCache:
    def __init__(self, directory: Path) -> None:
        self._path = directory / "costs.json"
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # then they are measured again
            found = json.loads(self._path.read_text("utf-8"))
            self._known = found if isinstance(found, dict) else {}
        self._warned = False

    def knows(self, settings: Settings) -> bool:
        """Whether looking up these settings measures nothing."""
        names = _name(ROUNDS, common_work(settings)), _name(CONTENTION, averaging_work(settings))
        return all(name in self._known for name in names)

    def look_up(self, settings: Settings) -> dict[str, Any]:
        """The entries `parameters`, `message_bytes`, `costs` and `costs_idle` of a cell, measured now if unknown. Cells
        whose rounds take the same work share one measurement, so that noise does not decide between them. `costs_idle`:
        whether the machine was idle; None if that was not noted."""
        known = self._measured(ROUNDS, common_work(settings), _of_rounds)
        contention = self._measured(CONTENTION, averaging_work(settings), measure_contention)
        choice, idle = {"candidates": 1.0}, [known.pop("idle", None), contention.pop("idle", None)]
        if chooses_on_validation(settings):
            choice = self._measured(CHOICE, settings, measure_choice)
            idle.append(choice.pop("idle", None))
        all_idle = False if False in idle else None if None in idle else True
        return {**known, "costs": {**known["costs"], **contention, **choice}, "costs_idle": all_idle}

    def _measured(
        self, what: str, settings: Settings, act: Callable[[Settings, Data], dict[str, Any]]
    ) -> dict[str, Any]:
        key = _name(what, settings)
        if key not in self._known:
            idle = self._is_idle()
            self._known[key] = {**act(settings, load_data(settings)), "idle": idle}
            write_json(self._path, self._known)
        return dict(self._known[key])

    def _is_idle(self) -> bool:
        """Whether other programs leave the machine alone; if not, that is said once."""
        limit_after_numpy()
        busy = busy_cores()
        if busy > BUSY and not self._warned:
            self._warned = True
            LOG.warning("psgd: other programs use %.1f cores: modelled times may be too long", busy)
        return busy <= BUSY


def _name(what: str, settings: Settings) -> str:
    """The name of an entry in costs.json."""
    return f"{what} {work_key(settings)}"


def _of_rounds(settings: Settings, data: Data) -> dict[str, Any]:
    job = build_job(settings, data)
    size, sent = job.learner.size, job.vectors.contribution_bytes
    tries = [measure(settings, data) for _ in range(TRIES)]
    least = {name: min(each[name] for each in tries) for name in tries[0]}  # other programs can only add to it
    return {"parameters": size, "message_bytes": sent, "costs": least}


def common_work(settings: Settings) -> Settings:
    """Settings with the same work in a round: weights are numbers, whatever they are, and costs are of one worker."""
    strategy = settings.strategy
    if isinstance(strategy, WeightedAveraging):
        shared = {name: getattr(strategy, name) for name in Averaging.model_fields}
        strategy = ParameterAveraging(**shared)
    return settings.replace(strategy=strategy, workers=2, cluster=settings.cluster.replace(speeds=None))


def averaging_work(settings: Settings) -> Settings:
    """Settings of the same network with workers that average parameters, and so update their own in each step.
    Contention is measured with such steps, whatever the strategy."""
    return common_work(settings).replace(strategy=ParameterAveraging())


def work_key(settings: Settings) -> str:
    """Equal for settings whose rounds take the same work in this version of psgd."""
    values = settings.model_dump(mode="json")
    for section, names in _NOT_WORK.items():
        for name in names:
            values[section].pop(name, None)
    values["optimizer"] |= {name: bool(values["optimizer"].get(name)) for name in _IF_USED}
    return hashlib.sha256(json.dumps([__version__, values], sort_keys=True).encode()).hexdigest()[:16]
