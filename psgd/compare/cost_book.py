"""Costs of cells on this machine, kept in costs.json beside the runs: measured once for all cells of equal work."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from psgd.backends.blas import limit_after_numpy
from psgd.compare.costs import measure
from psgd.compare.idle import BUSY, busy_cores
from psgd.config.settings import Settings
from psgd.core.files import write_json
from psgd.core.log import LOG
from psgd.core.version import __version__
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job

_NOT_WORK = {"optimizer": ("learning_rate",), "training": ("seed", "epochs", "evaluate_every")}


@final
class CostBook:
    def __init__(self, directory: Path) -> None:
        self._path = directory / "costs.json"
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # then they are measured again
            self._known = json.loads(self._path.read_text("utf-8"))
        self._warned = False

    def look_up(self, settings: Settings) -> dict[str, Any]:
        """The entries `parameters`, `message_bytes` and `costs` of a cell, measured now if they are not known."""
        key = work_key(settings)
        if key not in self._known:
            limit_after_numpy()
            busy = 0.0 if self._warned else busy_cores()
            if busy > BUSY:
                self._warned = True
                LOG.warning("psgd: other programs use %.1f cores: modelled times may be too long", busy)
            data = load_data(settings)
            job = build_job(settings, data)
            size, sent = job.learner.size, job.vectors.contribution_bytes
            self._known[key] = {"parameters": size, "message_bytes": sent, "costs": measure(settings, data)}
            write_json(self._path, self._known)
        return dict(self._known[key])


def work_key(settings: Settings) -> str:
    """Equal for settings whose rounds take the same work in this version of psgd."""
    values = settings.model_dump(mode="json")
    for section, names in _NOT_WORK.items():
        for name in names:
            values[section].pop(name, None)
    return hashlib.sha256(json.dumps([__version__, values], sort_keys=True).encode()).hexdigest()[:16]
