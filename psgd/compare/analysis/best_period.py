"""Which period reaches the target soonest at each grid point and price, of the arms that differ in it alone."""

import math
from collections.abc import Iterable

from psgd.compare import numbers
from psgd.compare.analysis.arm_times import ArmTimes, arm_times, modelled_prices
from psgd.compare.analysis.grid import points_with_cells
from psgd.compare.analysis.statistics import Verdict
from psgd.compare.analysis.tables import against
from psgd.compare.methods import method_of
from psgd.compare.results_file import Json


def best_period(results: Json) -> list[str]:
    """Say which has the shortest median time, and how the others stand to it."""
    sentences = []
    for point in points_with_cells(results):
        for family in _families(point.cells.values()):
            for name, price in modelled_prices(results, point.workers):
                cells = {cell["arm"]: cell for cell in family}
                if sentence := _sentence(cells, arm_times(results, cells, price), method_of(results, family[0])):
                    sentences.append(f"{point}, price {name}: {sentence}")
    return sentences


def _sentence(cells: dict[str, Json], found: ArmTimes, method: str) -> str:
    """The sentence about one grid point and price; empty if the target is reached with no period."""
    best = min(found.medians, key=found.medians.__getitem__)
    if math.isinf(found.medians[best]):
        return ""
    compared = against(best, cells, found.times)
    others = []
    for arm, median in found.medians.items():
        if arm != best:
            others.append(f"{cells[arm]['period']} {_against(median / found.medians[best], compared[arm].verdict)}")
    time = f"{numbers.seconds(found.medians[best])} to the target"
    return f"the best period of {method} is {cells[best]['period']}, {time}; {', '.join(others)}"


def _against(ratio: float, verdict: Verdict) -> str:
    if math.isinf(ratio):
        return "misses it"
    return f"takes {numbers.digits(ratio, 3)} times as long" + f" ({verdict})" * (verdict != "slower")


def _families(cells: Iterable[Json]) -> list[list[Json]]:
    """The cells that differ in strategy.period and in what was tuned alone, where there are several."""
    families: dict[str, list[Json]] = {}
    for cell in cells:
        if cell["period"] is not None:
            apart = {"strategy.period", *cell["tuned"]}
            same = {name: value for name, value in cell["settings"].items() if name not in apart}
            families.setdefault(f"{cell['strategy']} {sorted(same.items())}", []).append(cell)
    return [family for family in families.values() if len({cell["period"] for cell in family}) > 1]
