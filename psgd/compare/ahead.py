"""Which arms are ahead at a grid point, under a price."""

from typing import NamedTuple

from psgd.compare.analysis import same_runs
from psgd.compare.results_file import Json


class Ahead(NamedTuple):
    rows: list[Json]  # of the arms that reach the target first; the shortest median time first
    same: bool  # whether they do the same work in all runs, so that measured times differ by noise alone


def ahead(results: Json, table: Json) -> Ahead | None:
    """The arm with the shortest median time, and those with the same time or the same work. None if no arm has reached
    the target in more than half of its runs. Broken arms do not count."""
    cells = {cell["arm"]: cell for cell in results["cells"] if cell["at"] == table["at"] and not cell["error"]}
    rows = [row for row in table["rows"] if row["median"] is not None and row["arm"] in cells]
    if not rows:
        return None
    first = min(rows, key=lambda row: float(row["median"]))
    same = [row for row in rows if row is not first and _same_work(cells[first["arm"]], cells[row["arm"]])]
    equal = [row for row in rows if row is not first and row not in same and row["median"] == first["median"]]
    return Ahead([first, *same, *equal], bool(same) and not equal)


def _same_work(one: Json, other: Json) -> bool:
    """Whether two cells have the same runs, and their workers the same speeds and rounds."""
    alike = all(one[key] == other[key] for key in ("speeds", "period"))
    return alike and len(same_runs(one, other)) == len(one["runs"]) == len(other["runs"]) > 0
