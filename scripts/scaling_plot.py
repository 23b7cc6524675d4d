"""Draws the results of bench_scaling.py: a panel for each size that grows, both axes logarithmic."""

import sys
from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#D55E00")  # Okabe and Ito (2008), for colour-blind readers
MARKERS = ("o", "s")
DASHES = (0, (4, 3))
PANELS = {  # title: series
    "Wider layers": ("width",),
    "More layers": ("depth",),
    "Larger batches": ("batch",),
    "More data": ("epoch", "loading"),
    "More MPI processes, a core each": ("processes, gradient-averaging", "processes, parameter-averaging"),
    "More workers in one process": ("one process, gradient-averaging", "one process, parameter-averaging"),
}
UNITS = {"us a step": "µs a step", "us an example": "µs an example", "examples/s": "examples a second"}
NAMES = {"epoch": "sampling and gathering", "loading": "opening the files"}
STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.0,
    "svg.fonttype": "none",
}


def need_matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        sys.exit(f"plots need matplotlib ({error}): pip install matplotlib")
    return matplotlib


def plot(rows: list[dict[str, Any]], slopes: list[dict[str, Any]], path: Path) -> None:
    matplotlib = need_matplotlib()
    by_name = {slope["series"]: slope for slope in slopes}
    with matplotlib.rc_context(STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11.5, 7.0), layout="constrained")
        for panel, (title, names) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
            present = [name for name in names if name in by_name]
            if not present:
                panel.set_axis_off()
                continue
            draw(panel, [(by_name[name], [row for row in rows if row["series"] == name]) for name in present])
            panel.set_title(title, loc="left", fontweight="bold")
        figure.legend(handles=key(), loc="outside lower left", ncols=4, frameon=False)
        figure.savefig(path, dpi=130)


def key() -> list[Any]:
    from matplotlib.lines import Line2D

    grey = "#444444"
    return [
        Line2D([], [], color=grey, linestyle="", marker="o", markersize=5, label="measured, median"),
        Line2D([], [], color=grey, linewidth=1.6, label="least squares over the upper half of the sizes"),
        Line2D([], [], color=grey, linewidth=0.9, linestyle=DASHES, label="as the work alone grows"),
        Line2D([], [], linestyle="", label="$2^{x}$: what doubling the size multiplies it by"),
    ]


def draw(panel: Any, series: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    for (slope, rows), colour, marker in zip(series, COLOURS, MARKERS, strict=False):
        sizes, medians = [row["size"] for row in rows], [row["median"] for row in rows]
        panel.plot(sizes, medians, marker, color=colour, markersize=5, zorder=3)
        if slope["slope"] is not None:
            ends = [slope["from"], slope["to"]]
            panel.plot(ends, [2 ** slope["start"] * at ** slope["slope"] for at in ends], color=colour, linewidth=1.6)
            # The ideal line goes through the largest size for times, and through one worker for rates.
            known = rows[0] if slope["unit"] == "examples/s" else rows[-1]
            work = [known["median"] * row["work"] / known["work"] for row in rows]
            panel.plot(sizes, work, color=colour, linewidth=0.9, linestyle=DASHES)
        panel.plot([], [], marker=marker, color=colour, markersize=5, linewidth=1.6, label=label(slope))
    frame(panel, series[0][0], [row for _, rows in series for row in rows])


def label(slope: dict[str, Any]) -> str:
    name = slope["series"].split(", ")[-1]
    name = NAMES.get(name, name if "averaging" in name else "time")
    if slope["slope"] is None:
        return name
    work = "FLOP" if slope["unit"] == "us a step" else "ideal"
    return f"{name} $2^{{{slope['slope']:.2f}}}$, {work} $2^{{{slope['work_slope'] + 0:.2f}}}$"


def frame(panel: Any, slope: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    sizes = sorted({row["size"] for row in rows})
    every = -(-len(sizes) // 8)
    panel.xaxis.set_major_locator(FixedLocator(sizes[::-every]))
    panel.xaxis.set_minor_locator(NullLocator())
    low, high = panel.get_ylim()
    if high / low < 10:  # else the axis would have too few numbers
        middle = (low * high) ** 0.5
        panel.set_ylim(min(low, middle / 3.2), max(high, middle * 3.2))
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,), numticks=12))
    panel.yaxis.set_minor_formatter(NullFormatter())
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    panel.set_xlabel(slope["size"])
    panel.set_ylabel(UNITS[slope["unit"]])
    panel.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.18), frameon=False, borderaxespad=0)


def short(value: float) -> str:
    """Format a number briefly: 20k for 20,000."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * unit or (value >= unit and value % unit == 0):
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
