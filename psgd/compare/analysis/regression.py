"""Compares the results of a comparison with earlier ones: has any arm become slower to its target?"""

from psgd.compare.analysis.tables import analyse
from psgd.compare.results_file import Json
from psgd.core.errors import PsgdError, UsageError


class Regressed(PsgdError):
    """An arm takes longer to its target than in the earlier results, by more than is allowed."""

    code = 6


def parse_share(text: str) -> float:
    """Parse "10%" or 0.1 as a share. UsageError if it is not a number from 0 up, and for 10, which may be meant as 10%
    and would allow a time eleven times as long."""
    percent = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < (100 if percent else 1):
        raise UsageError(f"--max-regress is {text}; give a percentage such as 10%")
    return share


def find_regressions(results: Json, before: Json, most: float) -> list[str]:
    """Return a line for each time that both have, to the target of those before. Regressed if one is more than the
    share `most` above that before, or if a target is reached no more; UsageError if they cannot be compared."""
    _comparable(results, before)
    new, lines, worse = dict(_rows(results, before["target"])), [], []
    for key, row in _rows(before, before["target"]):
        arm, then, name = row["arm"], row["median"], ", ".join(key)
        if then is None or arm not in results["arms"] or (key not in new and not _broken(results, arm, key)):
            continue
        now = new[key]["median"] if key in new else None
        if now is None:
            reached = f"reached by {new[key]['reached']} of {new[key]['of']}" if key in new else "failed"
            lines.append(f"{name}: {then:.4g} s before, {reached} now")
            worse.append(lines[-1])
            continue
        change = now / then - 1 if then else 0.0
        lines.append(f"{name}: {then:.4g} s before, {now:.4g} s now ({change:+.1%})")
        if change > most:
            worse.append(lines[-1])
    if not lines:
        raise UsageError("the earlier results have no time to the target that these have, too; nothing can be compared")
    if worse:
        raise Regressed("\n".join([f"slower by more than {most:.0%}:", *worse]))
    cpus = results["machine"]["cpu"], before["machine"]["cpu"]
    return lines + [f"The earlier results are of another machine: {cpus[1]}, not {cpus[0]}."] * (cpus[0] != cpus[1])


def _comparable(results: Json, before: Json) -> None:
    """UsageError if times mean something else: another metric, evaluations or length of training, or another price."""
    metrics = results["target"]["metric"], before["target"]["metric"]
    if metrics[0] != metrics[1]:
        raise UsageError(f"the target is a {metrics[0]} and was a {metrics[1]} before; times to it cannot be compared")
    for name in ("epochs", "evaluate_every"):
        now, then = results["budget"][name], before["budget"][name]
        if now != then:
            raise UsageError(f"budget.{name} is {now:g} and was {then:g} before; times cannot be compared: set it back")
    for name in (name for name in results["prices"] if name in before["prices"]):
        new, old = _terms(results["prices"][name]), _terms(before["prices"][name])
        if new != old:
            raise UsageError(
                f"the price {name} is {new} and was {old} before; times at it cannot be compared: give it another name"
            )


def _terms(price: str | Json) -> str:
    """Return what a price says about time, as text."""
    names = ("hosts", "workers_per_host", "network", "machine_speed")
    if isinstance(price, str):
        return price
    return "{" + ", ".join(f"{name}: {price[name]}" for name in names if price.get(name) is not None) + "}"


def _broken(results: Json, arm: str, key: tuple[str, ...]) -> bool:
    """Whether the cell of a row failed."""
    return any(
        cell["error"]
        and cell["arm"] == arm
        and [f"{axis} {label}" for axis, label in cell["at"].items()] == [*key[1:-1]]
        for cell in results["cells"]
    )


def _rows(results: Json, target: Json) -> list[tuple[tuple[str, ...], Json]]:
    """The rows of all tables for a target, by arm, grid point and price."""
    return [
        ((row["arm"], *(f"{axis} {label}" for axis, label in table["at"].items()), f"price {table['price']}"), row)
        for table in analyse({**results, "target": target})["tables"]
        for row in table["rows"]
    ]
