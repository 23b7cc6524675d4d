"""Axes of a panel: their kind and limits, where a value lies on them, and their ticks."""

import math
from collections.abc import Iterable

import numpy as np

from psgd.compare.numbers import short
from psgd.compare.report.panels import Axis, Curves
from psgd.compare.single_run.picture import FAR

TICKS = 5  # intervals between ticks, about; raised, labels come closer
ONES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)  # ticks of kind "ones"


def axis_of(label: str, values: Iterable[float], ends: Iterable[float] = ()) -> Axis:
    """An axis from 0 to the greatest of `values`; logarithmic where `ends`, of one line each, are far apart."""
    found = [v for v in values if math.isfinite(v)]
    last = [v for v in ends if math.isfinite(v) and v > 0]
    positive = [v for v in found if v > 0]
    if positive and len(last) > 1 and max(last) > FAR * min(last):
        return Axis(f"{label} (logarithmic)", "log", min(positive) * 0.9, max(positive) * 1.1)
    return Axis(label, "linear", 0.0, max(found, default=0.0) * 1.02 or 1.0)


def score_axis(label: str, values: Iterable[float]) -> Axis:
    """An axis for scores. An accuracy close to 1 is drawn logarithmically in its distance to 1, a loss of several
    magnitudes logarithmically: what matters is near the end."""
    found = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(found), max(found)
    if "accuracy" in label and 0.9 < high < 0.9999 and 1 - low > 3 * (1 - high):
        return Axis(f"{label} (stretched towards 1)", "ones", max(0.0, 1 - (1 - low) * 1.1), 1 - (1 - high) * 0.85)
    if "loss" in label and low > 0 and high > FAR * low:
        return Axis(f"{label} (logarithmic)", "log", low * 0.9, high * 1.1)
    margin = 0.04 * (high - low) or 0.1 * abs(high) or 0.1
    return Axis(label, "linear", low - margin, high + margin)


def stretch_note(panels: Iterable[Curves]) -> str:
    """The end of a caption, which says that scores are not drawn evenly, since the labels of their axes are not."""
    return "; scores are stretched towards 1" if any(panel.y.kind == "ones" for panel in panels) else ""


def _transformed(axis: Axis, value: float) -> float:
    if axis.kind == "log":
        return math.log(max(value, 1e-300))
    return -math.log(max(1 - value, 1e-9)) if axis.kind == "ones" else value


def fraction_along(axis: Axis, value: float) -> float:
    """Where a value lies on an axis: 0 at its low end, 1 at its high end."""
    low, high = _transformed(axis, axis.low), _transformed(axis, axis.high)
    return min(1.0, max(0.0, (_transformed(axis, value) - low) / (high - low or 1.0)))


def ticks(axis: Axis) -> list[tuple[float, str]]:
    """Values to be labelled, and their labels."""
    if axis.kind == "ones":
        return _apart(axis, [(v, short(v)) for v in ONES if axis.low <= v <= axis.high])
    if axis.kind == "log":
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        steps = (1, 2, 5) if len(powers) <= 3 else (1,)
        values = [step * 10.0**power for power in powers for step in steps]
        return _apart(axis, [(v, short(v)) for v in values if axis.low <= v <= axis.high])
    rough = (axis.high - axis.low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(axis.low / step - 1e-9)
    values = [i * step for i in range(first, math.floor(axis.high / step + 1e-9) + 1)]
    return [(v, short(round(v, 12))) for v in values]


def decades(values: list[float], every: int) -> list[tuple[float, float]]:
    """Powers of ten within ascending positive `values`, each with the index at which it would stand among them; only
    every so many of them."""
    logs = [math.log10(value) for value in values]
    powers = range(math.ceil(logs[0] - 1e-9), math.floor(logs[-1] + 1e-9) + 1, every)
    return [(10.0**power, float(np.interp(power, logs, range(len(logs))))) for power in powers]


def _apart(axis: Axis, labelled: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Leave out ticks that come too close to the one before."""
    kept: list[tuple[float, str]] = []
    for value, label in labelled:
        if not kept or fraction_along(axis, value) - fraction_along(axis, kept[-1][0]) > 0.11:
            kept.append((value, label))
    return kept
