"""Panels as PNG, for where SVG cannot be shown; needs matplotlib."""

from pathlib import Path
from typing import Any

from psgd.compare.numbers import bandwidth, seconds
from psgd.compare.report import axes
from psgd.compare.report.marks import BLACK, LIGHT
from psgd.compare.report.panels import Axis, Bars, Curves, Map, Panel, Panels
from psgd.compare.single_run.picture import COLOURS, LINES, MARKERS, import_matplotlib, save

PARTS = (("#5b636e", ""), ("#ffffff", "////"), ("#dfe3e8", ""))  # fill and hatching of the parts of bars


def write(path: Path, figure: Panels) -> None:
    """Draw a figure with a legend. UsageError if matplotlib is missing or broken, StorageError if the file
    cannot be written."""
    matplotlib = import_matplotlib()
    columns = figure.columns
    rows = -(-len(figure.panels) // columns)
    style: Any = {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}
    with matplotlib.rc_context(style):
        drawn = matplotlib.figure.Figure(figsize=(3.2 * columns, 2.6 * rows + 0.3), layout="constrained")
        for number, panel in enumerate(figure.panels):
            _draw(drawn.add_subplot(rows, columns, number + 1), panel)
        _legend(drawn, figure)
        save(drawn, path)


def _draw(ax: Any, panel: Panel) -> None:
    ax.set_title(panel.title, fontsize=9.0, loc="left")
    if isinstance(panel, Curves):
        _curves(ax, panel)
    elif isinstance(panel, Bars):
        _bars(ax, panel)
    else:
        _map(ax, panel)


def _style(arm: int) -> dict[str, Any]:
    number = arm % len(COLOURS)
    colour = LIGHT["text"] if number == BLACK else COLOURS[number]
    return {"color": colour, "linestyle": LINES[arm % len(LINES)], "marker": MARKERS[arm % len(MARKERS)]}


def _curves(ax: Any, panel: Curves) -> None:
    """Lines over positions from 0 to 1, so that axes are those of the page."""
    for number, line in enumerate(panel.lines):
        x = [axes.fraction_along(panel.x, value) for value in line.x]
        style = _style(line.arm)
        if line.low:
            low, high = ([axes.fraction_along(panel.y, v) for v in values] for values in (line.low, line.high))
            ax.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
        y = [axes.fraction_along(panel.y, value) for value in line.y]
        ax.plot(
            x,
            y,
            linewidth=0.7 * panel.width(number),
            markersize=4,
            markevery=panel.marked(number),
            **style,
        )
        if line.marked is not None:
            ax.plot([x[line.marked]], [y[line.marked]], "o", markersize=9, fillstyle="none", color=LIGHT["text"])
    if panel.target is not None and panel.y.low <= panel.target <= panel.y.high:
        ax.axhline(axes.fraction_along(panel.y, panel.target), color=LIGHT["text"], linestyle=":", linewidth=1)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel=panel.x.label)
    ax.set_xticks(*_ticks(panel.x))
    ax.set_yticks(*_ticks(panel.y))
    ax.grid(color=LIGHT["grid"], linewidth=0.6)


def _ticks(axis: Axis) -> tuple[list[float], list[str]]:
    ticks = axes.ticks(axis)
    return [axes.fraction_along(axis, value) for value, _ in ticks], [label for _, label in ticks]


def _bars(ax: Any, panel: Bars) -> None:
    names = [name for _, name, _, _ in panel.rows]
    for row, (_, _, lengths, label) in enumerate(panel.rows):
        left = 0.0
        for part, length in enumerate(lengths):
            fill, hatch = PARTS[part]
            ax.barh(row, length, left=left, color=fill, hatch=hatch, edgecolor=LIGHT["faint"], linewidth=0.6)
            left += length
        ax.text(left, row, f" {label}", va="center", fontsize=8.0)
    ax.set_yticks(range(len(names)), names)
    ax.set(xticks=[], xlim=(0, 1.3 * max(sum(lengths) for _, _, lengths, _ in panel.rows) or 1.0))
    ax.invert_yaxis()


def _map(ax: Any, panel: Map) -> None:
    rows, columns = len(panel.latencies), len(panel.bandwidths)
    for i, row in enumerate(panel.first):
        for j, arm in enumerate(row):
            if arm is not None:
                style, (area, sign) = _style(arm), (0.6, 1.0) if panel.won[i][j] else (0.18, 0.35)
                ax.fill_between([j, j + 1], i, i + 1, color=style["color"], alpha=area, linewidth=0)
                if i % max(1, rows // 8) == 0 and j % max(1, columns // 8) == 0:
                    ax.plot([j + 0.5], [i + 0.5], style["marker"], color=LIGHT["text"], alpha=sign, markersize=4)
    across, up = axes.decades(panel.bandwidths, 2), axes.decades(panel.latencies, 1)
    ax.set_xticks([at + 0.5 for _, at in across], [bandwidth(value, 1) for value, _ in across])
    ax.set_yticks([at + 0.5 for _, at in up], [seconds(value, 1) for value, _ in up])
    ax.set(xlim=(0, columns), ylim=(0, rows), xlabel="bandwidth")


def _legend(drawn: Any, figure: Panels) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], label=name, markersize=4, **_style(arm)) for arm, name in figure.legend]
    for part, (fill, hatch) in zip(figure.parts, PARTS, strict=False):
        handles.append(Patch(facecolor=fill, hatch=hatch, edgecolor=LIGHT["faint"], label=part))
    if handles:
        drawn.legend(
            handles=handles,
            loc="outside lower left",
            ncols=2 if figure.columns == 1 else 4,
            frameon=False,
            handlelength=4,
        )
