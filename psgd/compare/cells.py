"""Cells of results.json by their point of the grid, and their names."""

from collections.abc import Mapping

from psgd.compare.results_file import Json


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
