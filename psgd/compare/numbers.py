"""Numbers as people read them: few digits, with a unit."""

import math

NONE = "\u2013"  # a dash, for what is unknown


def digits(value: float | None, count: int = 3) -> str:
    """A number to `count` significant digits without an exponent where it is of readable size; a dash for None."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{value:.{count - 1}e}"))))
    if not -5 <= power < 7:
        return f"{value:.{count - 1}e}"
    return f"{round(value, count - 1 - power):.{max(0, count - 1 - power)}f}"


def short(value: float) -> str:
    """A number for an axis or a setting: as few digits as it has, at most four."""
    return f"{value:.4g}"


def seconds(value: float | None, count: int = 3) -> str:
    """A duration in µs, ms, s, min or h, to `count` significant digits."""
    if value is None:
        return NONE
    for least, unit, name in ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (1.0, 1.0, "s"), (1e-3, 1e-3, "ms")):
        if value >= least:
            return f"{digits(value / unit, count)} {name}"
    return f"{digits(value * 1e6, count)} µs" if value else "0 s"


def data_size(value: float | None) -> str:
    """A number of bytes in B, kB, MB, GB or TB of powers of ten."""
    if value is None:
        return NONE
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{digits(value / unit)} {name}"
    return f"{value:.0f} B"


def bandwidth(value: float, count: int = 3) -> str:
    """Bits a second in kbit/s, Mbit/s or Gbit/s, to `count` significant digits."""
    for unit, name in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if value >= unit:
            return f"{digits(value / unit, count)} {name}"
    return f"{digits(value)} bit/s"


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\u202f")


def share(value: float | None) -> str:
    """A score such as an accuracy or a loss, to four digits after the point."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.4f}"
