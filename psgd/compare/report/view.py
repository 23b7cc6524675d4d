"""What a report asks of results.json (schema 1): grid points, cells, names, series, and seconds at a price."""

import math
from collections.abc import Callable
from typing import Any

from psgd.compare import numbers
from psgd.compare.analysis import grid
from psgd.compare.modelled.clock import TimeParts
from psgd.core.wording import counted

Results = dict[str, Any]


Times = Callable[[dict[str, Any], dict[str, Any], Any], TimeParts | None]  # of (cell, run, price); None if unknown

NO_FINDINGS: dict[str, Any] = {
    **{
        name: []
        for name in ("tables", "targets", "flips", "identities", "break_even", "best_period", "left_out", "answer")
    },
    "diagram": None,
}


def completed(results: Results) -> Results:
    """The results with what may be left out of them. A comparison without prices is of measured times, named here."""
    prices = results["prices"] or {"here": "measured"}
    return {**results, "prices": prices, "findings": {**NO_FINDINGS, **results["findings"]}}


def point_title(at: dict[str, str]) -> str:
    """A point of the grid in words, also of a comparison without a grid."""
    return grid.point_name(at) or "all settings"


def cells_at(results: Results, at: dict[str, str]) -> list[dict[str, Any]]:
    """The cells of a point of the grid, in the order of the arms."""
    found = [cell for cell in results["cells"] if cell["at"] == at]
    return sorted(found, key=lambda cell: results["arms"].index(cell["arm"]))


def modelled(results: Results) -> list[str]:
    """The names of the prices that are modelled."""
    return [name for name, price in results["prices"].items() if price != "measured"]


def measured(results: Results) -> list[str]:
    return [name for name, price in results["prices"].items() if price == "measured"]


def price_name(results: Results, name: str) -> str:
    """A price in words, with its name."""
    price = results["prices"][name]
    if price == "measured":
        return f"{name}: measured on this machine"
    hosts = f"{counted(price['hosts'], 'host')}"
    speed = "" if price["machine_speed"] == 1 else f", cores of {numbers.short(price['machine_speed'])} times the speed"
    network = f", network {price['network']}" if price["network"] else ", no network"
    per_host = f" of {price['workers_per_host']} workers" if price["workers_per_host"] else ""
    return f"{name}: modelled for {hosts}{per_host}{network}{speed}"


def metric_name(results: Results) -> str:
    return str(results["target"]["metric"]).replace("_", " ")


def scores(run: dict[str, Any], metric: str) -> list[float]:
    """A series with NaN for values that are not finite."""
    return [math.nan if value is None else value for value in run["series"].get(metric, ())]


class RunClock:
    """Seconds of runs at the prices of a comparison, each computed once."""

    def __init__(self, results: Results, times: Times) -> None:
        self.prices: dict[str, Any] = results["prices"]
        self.times = times
        self._known: dict[tuple[str, int, int], list[float] | None] = {}

    def seconds(self, name: str, cell: dict[str, Any], run: dict[str, Any]) -> list[float] | None:
        """Seconds at every evaluation of a run at the price `name`; None where they are unknown."""
        key = (name, id(cell), id(run))
        if key not in self._known:
            self._known[key] = self._seconds(self.prices[name], cell, run)
        return self._known[key]

    def _seconds(self, price: Any, cell: dict[str, Any], run: dict[str, Any]) -> list[float] | None:
        parts = self.times(cell, run, price) if run["series"].get("examples") else None
        return None if parts is None else [float(value) for value in parts.seconds]
