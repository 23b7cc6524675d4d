"""Compares the results of a comparison with earlier ones: has any arm become slower to its target?"""

from typing import Any

from psgd.core.errors import PsgdError, UsageError


class Regressed(PsgdError):
    """An arm takes longer to its target than in the earlier results, by more than is allowed."""

    code = 6


def parse_share(text: str) -> float:
    """Parse "10%" or 0.1 as a share. UsageError if it is none."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 100:
        raise UsageError(f"--max-regress is {text}; give a percentage such as 10%")
    return share


def check(results: dict[str, Any], before: dict[str, Any], most: float) -> list[str]:
    """Return a line for each time that both have. Regressed if one is more than the share `most` above that before, or
    if a target is reached no more; UsageError if nothing can be compared."""
    old = dict(_rows(before))
    lines, worse = [], []
    for key, row in _rows(results):
        if key not in old:
            continue
        name = ", ".join(key)
        then, now = old[key]["median"], row["median"]
        if then is None:
            continue
        if now is None:
            worse.append(
                f"{name}: the target was reached in {then:.4g} s, and is reached by {row['reached']} of {row['of']} now"
            )
            continue
        change = now / then - 1
        lines.append(f"{name}: {then:.4g} s before, {now:.4g} s now ({change:+.1%})")
        if change > most:
            worse.append(lines[-1])
    if not lines and not worse:
        raise UsageError(
            "the results before have no arm, place and price in common with these; nothing can be compared"
        )
    if worse:
        raise Regressed("\n".join([f"slower by more than {most:.0%}:", *worse]))
    return lines


def _rows(results: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    return [
        ((row["arm"], *(f"{axis} {label}" for axis, label in table["at"].items()), table["price"]), row)
        for table in results["findings"]["tables"]
        for row in table["rows"]
    ]
