"""Learning curves of a comparison: the score against examples, rounds, bytes and modelled seconds, a figure for each
point of the grid; against measured seconds in a figure of their own, since measured and modelled times do not mix."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from psgd.compare import numbers
from psgd.compare.analysis import grid
from psgd.compare.analysis.crossing import higher_is_better
from psgd.compare.modelled import work
from psgd.compare.report import axes, bands, view
from psgd.compare.report.blocks import Figure, RowGroup, Table
from psgd.compare.report.panels import Curves, Line, Panels

POINTS = 12_000  # of all lines of the report; raised, long runs are drawn with more detail, and the page grows
LEAST, MOST = 12, 120  # points of a line
LONGEST_NAME = 150  # bytes; file systems take 255
ROWS = 10  # evaluations of an arm in the table under a figure, about
UNITS = {  # quantity: (least end of the longest line, unit, label), of which the first that applies is used
    "seconds": ((7200.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (1.0, 1.0, "seconds"),
                (0.0, 1e-3, "milliseconds")),
    "examples": ((2e6, 1e6, "million examples"), (2e3, 1e3, "thousand examples"), (0.0, 1.0, "examples")),
    "rounds": ((2e6, 1e6, "million rounds"), (2e4, 1e3, "thousand rounds"), (0.0, 1.0, "rounds")),
    "bytes": ((1e9, 1e9, "GB sent by each worker"), (1e6, 1e6, "MB sent by each worker"),
              (1e3, 1e3, "kB sent by each worker"), (0.0, 1.0, "bytes sent by each worker")),
}  # fmt: skip
BAND = "Line: median over the seeds, a diverged run counting as the worst; band: from the least to the greatest"


def slug(text: str) -> str:
    """A name of a file, cut where a file system would refuse it, with room for an ending."""
    name = re.sub(r"[^\w.=-]+", "-", text)
    return name.encode()[:LONGEST_NAME].decode(errors="ignore").strip("-")


def per_line(results: view.Results) -> int:
    """How many points a line may have."""
    lines = len(results["cells"]) * (4 + len(results["prices"]))
    return max(LEAST, min(MOST, POINTS // max(1, lines)))


def at_grid_point(results: view.Results, at: dict[str, str], clock: view.RunClock) -> Figure | None:
    """The figure of one point of the grid. None if no run there has a score."""
    metric, name = results["target"]["metric"], view.point_title(at)
    found = _lines_of(results, at, metric)
    panels = [
        _panel(results, found, "examples", "By examples", lambda cell, run: run["series"].get("examples")),
        _panel(results, found, "rounds", "By rounds", lambda cell, run: run["series"].get("rounds")),
        _panel(results, found, "bytes", "By bytes sent", _sent),
    ]
    for price in view.modelled(results):
        panels.append(_panel(results, found, "seconds", f"By modelled time, {price}", _by(clock, price)))
    drawn = [panel for panel in panels if panel]
    if not drawn:
        return None
    caption = (
        f"{view.metric_name(results).capitalize()} at {name}. {BAND}; dotted: the target"
        f"{axes.stretch_note(drawn)}{_thinned(results, found)}."
    )
    legend = [(results["arms"].index(cell["arm"]), cell["arm"]) for cell, _ in found]
    figure = Panels(
        drawn, legend, f"{view.metric_name(results)} at {name} against {', '.join(p.x.label for p in drawn)}"
    )
    return Figure(
        slug(f"curves {name}"), name[0].upper() + name[1:], figure, caption, _table(results, name, found, clock)
    )


def in_measured_time(results: view.Results, clock: view.RunClock) -> Figure | None:
    """The figure of measured seconds: a panel for each point of the grid. None if nothing was measured."""
    metric, panels, legend = results["target"]["metric"], [], {}
    for at in grid.grid_points(results):
        found = _lines_of(results, at, metric)
        for price in view.measured(results):
            panel = _panel(results, found, "seconds", view.point_title(at), _by(clock, price))
            if panel:
                panels.append(panel)
                legend.update({results["arms"].index(cell["arm"]): cell["arm"] for cell, _ in found})
    if not panels:
        return None
    caption = f"{view.metric_name(results).capitalize()} by time measured on this machine. {BAND}; dotted: the target."
    description = f"{view.metric_name(results)} against measured time, a panel for each point of the grid"
    return Figure(
        "measured",
        "Measured time",
        Panels(panels, sorted(legend.items()), description),
        caption,
        _groups(results, clock),
    )


CellCurves = list[tuple[dict[str, Any], list[bands.Point]]]
Position = Callable[[dict[str, Any], dict[str, Any]], list[float] | None]


def _lines_of(results: view.Results, at: dict[str, str], metric: str) -> CellCurves:
    higher = higher_is_better(results["target"]["metric"])
    cells = view.cells_at(results, at)
    found = [(cell, bands.points([view.scores(run, metric) for run in cell["runs"]], higher)) for cell in cells]
    return [(cell, points) for cell, points in found if points]


def _by(clock: view.RunClock, price: str) -> Position:
    return lambda cell, run: clock.seconds(price, cell, run)


def _sent(cell: dict[str, Any], run: dict[str, Any]) -> list[float]:
    return list(map(float, work.sent(cell, run)))


def _panel(results: view.Results, found: CellCurves, quantity: str, title: str, position: Position) -> Curves | None:
    count, lines = per_line(results), []
    for cell, points in found:
        arm = results["arms"].index(cell["arm"])
        line = bands.line(arm, cell, bands.thinned(points, count), partial(position, cell))
        if line and line.x[-1] > 0:
            lines.append(line)
    if not lines:
        return None
    end = max(line.x[-1] for line in lines)
    unit, label = next((unit, label) for least, unit, label in UNITS[quantity] if end >= least)
    lines = [Line(line.arm, [x / unit for x in line.x], line.y, line.low, line.high) for line in lines]
    x = axes.axis_of(label, (x for line in lines for x in line.x), (line.x[-1] for line in lines))
    if x.kind == "log":  # an evaluation before training has no place on it
        lines = [_from(line, sum(x <= 0 for x in line.x)) for line in lines]
    y = axes.score_axis(view.metric_name(results), _visible(lines, results["target"]["value"]))
    return Curves(title, x, y, lines, results["target"]["value"])


def _from(line: Line, first: int) -> Line:
    return Line(line.arm, line.x[first:], line.y[first:], line.low[first:], line.high[first:])


def _visible(lines: list[Line], target: float | None) -> list[float]:
    values = [y for line in lines for band in (line.low, line.high) for y in band]
    return values if target is None else [*values, target]


def _thinned(results: view.Results, found: CellCurves) -> str:
    longest = max(len(points) for _, points in found)
    every = -(-longest // per_line(results))
    return "" if every == 1 else f"; every {every}th evaluation is drawn, all are in series.csv"


def _table(results: view.Results, name: str, found: CellCurves, clock: view.RunClock) -> Table:
    """The numbers of a figure of curves: some ten evaluations of every arm, on all axes."""
    clocks = view.modelled(results)
    head = ["epochs", "rounds", "sent by a worker", *(f"time, {price}" for price in clocks)]
    head += [f"{view.metric_name(results)}: median", "least", "greatest", "runs"]
    groups = []
    for cell, points in found:
        rows = []
        for point in bands.thinned(points, ROWS):
            at = [[run["series"].get(key) for run in cell["runs"]] for key in ("examples", "rounds")]
            examples, rounds = (bands.middle(each, point.at) for each in at)
            sent = bands.middle([_sent(cell, run) for run in cell["runs"]], point.at)
            row = [_epochs(results, cell, examples), numbers.count(rounds), numbers.data_size(sent)]
            for price in clocks:
                seconds = [clock.seconds(price, cell, run) for run in cell["runs"]]
                row.append(numbers.seconds(bands.middle(seconds, point.at)))
            rows.append([*row, *_scores(cell, point)])
        groups.append(RowGroup(rows, cell["arm"]))
    caption = f"The numbers of this figure: {name}"
    return Table(caption, head, groups, frozenset(range(len(head))), details=True)


def _groups(results: view.Results, clock: view.RunClock) -> Table:
    """The numbers of the figure of measured times, at the end of the runs and some evaluations before."""
    groups = []
    for at in grid.grid_points(results):
        for cell, points in _lines_of(results, at, results["target"]["metric"]):
            rows = []
            for point in bands.thinned(points, 4):
                row = []
                for price in view.measured(results):
                    seconds = [clock.seconds(price, cell, run) for run in cell["runs"]]
                    row.append(numbers.seconds(bands.middle(seconds, point.at)))
                examples = bands.middle([run["series"].get("examples") for run in cell["runs"]], point.at)
                rows.append([_epochs(results, cell, examples), *row, *_scores(cell, point)])
            groups.append(RowGroup(rows, grid.cell_name(cell)))
    head = [
        "epochs",
        *(f"time, {price}" for price in view.measured(results)),
        "median score",
        "least",
        "greatest",
        "runs",
    ]
    return Table("The numbers of this figure", head, groups, frozenset(range(len(head))), details=True)


def _epochs(results: view.Results, cell: dict[str, Any], examples: float | None) -> str:
    whole = grid.examples_per_epoch(results, cell)
    return numbers.digits(examples / whole) if whole and examples is not None else numbers.NONE


def _scores(cell: dict[str, Any], point: bands.Point) -> list[str]:
    count = f"{point.runs} of {len(cell['runs'])}"
    return [numbers.share(point.median), numbers.share(point.low), numbers.share(point.high), count]
