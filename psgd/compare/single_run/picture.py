"""Draws loss and accuracy of several runs against time, examples and bytes sent: the cheapest strategy depends on which
of these is scarce."""

import os
from pathlib import Path
from statistics import fmean
from typing import Any

from psgd.compare.methods import outer_name
from psgd.compare.single_run.curves import AXES, Curve, RunCurves
from psgd.config.document import read_file
from psgd.core.errors import StorageError, UsageError
from psgd.core.files import write_atomically
from psgd.core.optional import what_to_install

FORMATS = (".png", ".svg", ".pdf")
# The palette of Okabe and Ito (2008) for colour-blind readers; line styles and markers differ too, for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKS = 7  # markers on a curve, about; raised, curves are told apart more easily, but covered
POINTS = 50  # points of the training loss, each the mean of several values; raised, more of its noise is seen
FAR = 10.0  # ratio of the largest to the smallest value beyond which an axis is logarithmic
UNITS = {  # axis: (least end of the longest run, unit, label), of which the first that applies is used
    "seconds": (
        *((7200.0, 3600.0, "training hours"), (300.0, 60.0, "training minutes")),
        *((1.0, 1.0, "training seconds"), (0.0, 1e-3, "training milliseconds")),
    ),
    "examples": ((2e6, 1e6, "million examples"), (2e3, 1e3, "thousand examples"), (0.0, 1.0, "examples")),
    "bytes": (
        *((1e9, 1e9, "GB sent by each worker"), (1e6, 1e6, "MB sent by each worker")),
        *((1e3, 1e3, "kB sent by each worker"), (0.0, 1.0, "bytes sent by each worker")),
    ),
}


def labels(runs: list[RunCurves]) -> list[str]:
    """Label each run by its name (its path if two names are equal), strategy and number of workers."""
    names = [run.path.resolve().name for run in runs]
    found = [str(run.path) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
    return [_drawable(name) + _experiment(run.path) for run, name in zip(runs, found, strict=True)]


def _drawable(path: str) -> str:
    """A path, whose bytes need not be text, as text."""
    return os.fsencode(path).decode(errors="replace")


def _experiment(path: Path) -> str:
    if not (path / "config.yaml").exists():
        return ""
    saved = read_file(str(path / "config.yaml"))
    strategy, workers = saved.get("strategy"), saved.get("workers")
    if not isinstance(strategy, dict):
        return ""  # not written by psgd
    period = f", period {strategy['period']}" if "period" in strategy else ""
    outer = outer_name(strategy.get("outer"))
    return f": {strategy.get('name')}{outer}{period}, {workers} worker{'s' * (workers != 1)}"


def import_matplotlib() -> Any:
    """Import matplotlib. UsageError if it is missing or broken."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend, which it names there, may be missing here
    try:
        import matplotlib
        import matplotlib.figure
    except Exception as error:
        raise UsageError(f"plots need {what_to_install(error, 'matplotlib', 'psgd[report]')}") from None
    return matplotlib


def draw(runs: list[RunCurves], names: list[str]) -> Any:
    """Draw a matplotlib figure: a row of panels for the loss, and one for the accuracy if any run has one."""
    matplotlib = import_matplotlib()
    rows = ["loss", "accuracy"] if any("accuracy" in kind for run in runs for kind in run.curves) else ["loss"]
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(12, 0.9 + 3.2 * len(rows) + 0.25 * len(runs)), layout="constrained")
        panels = figure.subplots(len(rows), len(AXES), squeeze=False, sharey="row", sharex="col")
        scales = {axis: _scale(runs, axis) for axis in AXES}
        for panels_of_row, quantity in zip(panels, rows, strict=True):
            for panel, axis in zip(panels_of_row, AXES, strict=True):
                for number, run in enumerate(runs):
                    _draw_run(panel, run, quantity, axis, scales[axis][0], (number, len(runs)))
        _frame(panels, rows, runs, scales)
        _legend(figure, runs, names)
    return figure


_STYLE: Any = {
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may have $ in it
}


def _draw_run(panel: Any, run: RunCurves, quantity: str, axis: str, unit: float, position: tuple[int, int]) -> None:
    """Draw scores on test or validation data as a thick line with markers, and the training loss as a thin line.
    `position`: (index of the run, number of runs). Earlier runs get thicker lines, and markers are staggered, so that a
    curve remains visible beneath later ones."""
    number, count = position
    training = _averaged(run.curves["loss"]) if quantity == "loss" and "loss" in run.curves else None
    scores = _scores(run, quantity)
    if training and scores:
        thin = {**_style(number), "marker": "None"}
        _line(panel, training, axis, unit).set(alpha=0.5, zorder=2, linewidth=0.8, **thin)
    if main := scores or training:
        every = max(1, len(main.values) // MARKS)
        line = _line(panel, main, axis, unit)
        line.set(zorder=3, linewidth=1.5 + 0.5 * min(3, count - 1 - number), **_style(number))
        line.set(markeredgecolor="white", markeredgewidth=0.6, markevery=(every * number // count, every))


def _style(number: int) -> dict[str, Any]:
    colour, line, marker = (among[number % len(among)] for among in (COLOURS, LINES, MARKERS))
    return {"color": colour, "linestyle": line, "marker": marker, "markersize": 5.5}


def _scores(run: RunCurves, quantity: str) -> Curve | None:
    return run.curves.get(f"test_{quantity}") or run.curves.get(f"validation_{quantity}")


def _averaged(curve: Curve) -> Curve:
    """Average a curve to at most POINTS points, each the mean of consecutive values, at the position of the last."""
    size = -(-len(curve.values) // POINTS)
    parts = [slice(i, i + size) for i in range(0, len(curve.values), size)]
    means = [fmean(curve.values[part]) for part in parts]
    return Curve({axis: [at[part][-1] for part in parts] for axis, at in curve.at.items()}, means)


def _line(panel: Any, curve: Curve, axis: str, unit: float) -> Any:
    return panel.plot([at / unit for at in curve.at[axis]], curve.values)[0]


def _scale(runs: list[RunCurves], axis: str) -> tuple[float, str, bool]:
    """Choose (unit, label, whether logarithmic) of an axis: logarithmic if one run is much longer than another."""
    ends = [max(curve.at[axis][-1] for curve in run.curves.values()) for run in runs]
    ends = [end for end in ends if end > 0] or [1.0]
    unit, label = next((unit, label) for least, unit, label in UNITS[axis] if max(ends) >= least)
    return unit, label, max(ends) / min(ends) > FAR


def _frame(panels: Any, rows: list[str], runs: list[RunCurves], scales: dict[str, tuple[float, str, bool]]) -> None:
    losses = [v for run in runs for kind, curve in run.curves.items() if kind.endswith("loss") for v in curve.values]
    if losses and min(losses) > 0 and max(losses) / min(losses) > FAR:
        for panel in panels[0]:
            panel.set_yscale("log")
            _plain_numbers(panel.yaxis)
    for panels_of_row, quantity in zip(panels, rows, strict=True):
        panels_of_row[0].set_ylabel(quantity)
    for column, axis in enumerate(AXES):
        _, label, logarithmic = scales[axis]
        panels[-1][column].set_xlabel(label + (" (logarithmic)" if logarithmic else ""))
        if logarithmic:
            panels[-1][column].set_xscale("log")
            _plain_numbers(panels[-1][column].xaxis)
        else:
            panels[-1][column].set_xlim(left=0)


def _plain_numbers(axis: Any) -> None:
    """Label a logarithmic axis 0.1 0.2 0.5 1, or 0.1 1 10 if that is too dense, not with powers of ten."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    close = low > 0 and high / low < 200
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if close else (1.0,), numticks=12))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Any, runs: list[RunCurves], names: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for number, (run, name) in enumerate(zip(runs, names, strict=True)):
        part = next((part for part in ("test", "validation") if f"{part}_loss" in run.curves), "training")
        handles.append(Line2D([], [], label=f"{name} ({part} data)", linewidth=1.8, **_style(number)))
    if any(_scores(run, "loss") and "loss" in run.curves for run in runs):
        handles.append(Line2D([], [], color="#555555", linewidth=0.8, label="thin: loss on training data, averaged"))
    figure.legend(handles=handles, loc="outside lower left", ncols=1, frameon=False, handlelength=4.5)


def save(figure: Any, path: Path) -> None:
    """Write the figure atomically, in the format of the suffix. StorageError if that fails."""
    try:
        write_atomically(path, lambda partial: figure.savefig(partial, format=path.suffix[1:], dpi=120))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; set --output") from None
