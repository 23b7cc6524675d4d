"""How the tuned setting was chosen: the score of every value tried, and what the choice cost."""

import math
from statistics import fmean
from typing import Any

from psgd.compare import numbers
from psgd.compare.analysis import grid
from psgd.compare.report import axes, view
from psgd.compare.report.blocks import Block, Figure, Paragraph, RowGroup, Section, Table
from psgd.compare.report.panels import Axis, Curves, Line, Panels


def section(results: view.Results) -> Section | None:
    """A figure of rate curves and its table. None if nothing was tuned."""
    tuned = [cell for cell in results["cells"] if cell["tuning"]]
    if not tuned:
        return None
    setting = tuned[0]["tuning"]["setting"]
    shared = results["config"]["tune"]["for_each"]  # cells with the same of these share a tuning, which counts once
    spent = {
        tuple(cell["arm"] if name == "arm" else cell["at"][name] for name in shared): cell["tuning"]["examples"]
        for cell in tuned
    }
    training = sum(
        run["series"]["examples"][-1] for c in results["cells"] for run in c["runs"] if run["series"].get("examples")
    )
    whole = sum(spent.values())
    times = f", {numbers.digits(whole / training, 2)} times what the scored runs took" if training else ""
    intro = Paragraph(
        f"{setting} was chosen on validation data with seeds that are not scored, among the same values for all; where "
        f"the best was at an edge, more values beyond it were tried. Tuning took {numbers.count(whole)} examples"
        f"{times}."
    )
    blocks: list[Block] = [intro]
    panels = [panel for at in grid.grid_points(results) if (panel := _panel(results, at, setting))]
    table = _table(results, tuned, setting)
    if not panels:
        return Section("Tuning", [*blocks, table])
    legend = sorted({results["arms"].index(cell["arm"]): cell["arm"] for cell in tuned}.items())
    figure = Panels(panels, legend, f"Validation score against {setting}, a panel for each point of the grid")
    caption = (
        "Mean score over the tuning seeds for every value tried; ring: the value chosen; a failed value has no point"
        f"{axes.stretch_note(panels)}."
    )
    return Section("Tuning", [*blocks, Figure("tuning", f"Scores by {setting}", figure, caption, table)])


def _scores(cell: dict[str, Any]) -> list[tuple[float, float | None]]:
    """Values tried, ascending, and their mean score, or None if a run failed."""
    found = []
    for trial in sorted(cell["tuning"]["trials"], key=lambda trial: trial["value"]):
        scores = [score for score in trial["scores"] if score is not None and math.isfinite(score)]
        whole = scores and len(scores) == len(trial["scores"])
        found.append((float(trial["value"]), fmean(scores) if whole else None))
    return found


def _panel(results: view.Results, at: dict[str, str], setting: str) -> Curves | None:
    lines = []
    for cell in view.cells_at(results, at):
        if not cell["tuning"]:
            continue
        found = [(x, y) for x, y in _scores(cell) if y is not None]
        if not found:
            continue
        chosen = cell["tuned"].get(setting)
        near = min(range(len(found)), key=lambda i: abs(found[i][0] - chosen)) if chosen is not None else None
        marked = near if near is not None and math.isclose(found[near][0], chosen, rel_tol=1e-6) else None
        lines.append(
            Line(results["arms"].index(cell["arm"]), [x for x, _ in found], [y for _, y in found], marked=marked)
        )
    if not lines:
        return None
    values = [x for line in lines for x in line.x]
    low, high = min(values), max(values)
    log = low > 0 and high > 5 * low
    margin = (high - low or abs(high) or 1.0) * 0.05
    x = Axis(setting, "log", low / 1.2, high * 1.2) if log else Axis(setting, "linear", low - margin, high + margin)
    y = axes.score_axis(view.metric_name(results), (y for line in lines for y in line.y))
    return Curves(view.point_title(at), x, y, lines, mark_all=True)


def _table(results: view.Results, tuned: list[dict[str, Any]], setting: str) -> Table:
    groups = []
    for at in grid.grid_points(results):
        rows = [_row(cell, setting) for cell in view.cells_at(results, at) if cell["tuning"]]
        if rows:
            groups.append(RowGroup(rows, view.point_title(at)))
    head = ["arm", "chosen", "values tried: mean score", "extended", "examples", "comparable"]
    return Table(f"Tuning of {setting}", head, groups, frozenset({1, 3, 4}), details=True)


def _row(cell: dict[str, Any], setting: str) -> list[str]:
    errors = {float(trial["value"]): trial["error"] for trial in cell["tuning"]["trials"]}
    tried = "; ".join(
        f"{numbers.short(value)}: {numbers.share(score) if score is not None else errors[value] or 'failed'}"
        for value, score in _scores(cell)
    )
    chosen, extended = cell["tuned"].get(setting), cell["tuning"]["extended"]
    return [
        cell["arm"],
        numbers.NONE if chosen is None else numbers.short(chosen),
        tried,
        "no" if not extended else "once" if extended == 1 else "twice",
        numbers.count(cell["tuning"]["examples"]),
        "yes" if cell["comparable"] else f"no: {cell['why_not']}",
    ]
