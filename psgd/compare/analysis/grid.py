"""The grid in results.json: its points, the cells at each, and their names."""

from collections.abc import Mapping
from typing import NamedTuple

from psgd.compare.results_file import Json


class GridPoint(NamedTuple):
    """The cells of one setting of the axes, by arm."""

    at: dict[str, str]
    workers: int  # of the cell with most
    cells: dict[str, Json]

    def __str__(self) -> str:
        return point_name(self.at) or f"{self.workers} workers"


def grid_points(results: Json) -> list[dict[str, str]]:
    """The points of the grid that some cell has, in the order of the cells."""
    found: list[dict[str, str]] = []
    for cell in results["cells"]:
        if cell["at"] not in found:
            found.append(cell["at"])
    return found


def point_name(at: Mapping[str, str]) -> str:
    """A point of the grid in words, "workers 4, speeds uneven"; empty without a grid."""
    return ", ".join(f"{axis} {label}" for axis, label in at.items())


def examples_per_epoch(results: Json, cell: Json) -> int | None:
    """Examples of an epoch of a cell's runs; None if none has ended. Earlier results have one number for all cells."""
    found: int | None = cell.get("examples_per_epoch", results["budget"].get("examples_per_epoch"))
    return found


def cell_name(cell: Json) -> str:
    """An arm and its grid point in words, "sync, workers 4"."""
    return ", ".join(filter(None, (cell["arm"], point_name(cell["at"]))))


def unusable(cell: Json) -> str:
    """Why a cell has no times: "failed", ...; empty if it has them."""
    if cell["error"]:
        return "failed"
    return "is not comparable" if not cell["comparable"] else "has no costs" if cell["costs"] is None else ""


def points_with_cells(results: Json, all_cells: bool = False) -> list[GridPoint]:
    """The settings of the axes, in the order of the cells, with those cells that are not unusable, or with all."""
    found: dict[tuple[tuple[str, str], ...], GridPoint] = {}
    for cell in results["cells"]:
        if all_cells or not unusable(cell):
            key = tuple(cell["at"].items())
            point = found.get(key, GridPoint(dict(cell["at"]), 0, {}))
            cells = {**point.cells, cell["arm"]: cell}
            found[key] = point._replace(workers=max(point.workers, cell["workers"]), cells=cells)
    return list(found.values())
