"""What other networks would change: who wins at which latency and bandwidth, where two arms break even, which period is
the best, and a table that a script reprices."""

import math
from typing import Any

import numpy as np

from psgd.compare import numbers
from psgd.compare.report import view
from psgd.compare.report.blocks import Block, Bullets, Figure, Paragraph, RowGroup, Section, Sliders, Table
from psgd.compare.report.panels import Map, Panels

OPEN = 6  # sentences in a list that is not hidden
SHOWN = 9  # columns and rows of the table under a diagram, about
PROBES = ((1e9, 1e-3), (1e9, 0.1), (1e6, 1e-3))  # (bits a second, seconds) from which the three numbers of a run follow
CHECKS = ((3e7, 2e-2), (2e10, 1e-5))  # where they must agree with the clock
TOLERANCE = 0.01  # relative; raised, a clock that is less nearly affine is offered as sliders


def section(results: view.Results, clock: view.RunClock) -> Section | None:
    """The diagram, sentences and sliders. None if there are none of them."""
    findings = results["findings"]
    blocks: list[Block] = [Bullets(findings["left_out"], "warning")] if findings["left_out"] else []
    if findings["diagram"]:
        blocks.append(_diagram(results, findings["diagram"]))
    machines: dict[tuple[Any, ...], str] = {}  # prices that differ in the network only have one table
    for price in view.modelled(results):
        settings = results["prices"][price]
        if settings["network"] and settings["hosts"] > 1:
            machines.setdefault((settings["hosts"], settings["workers_per_host"], settings["machine_speed"]), price)
    blocks += [sliders for price in machines.values() if (sliders := _sliders(results, price, clock))]
    for name, sentences in (("best_period", "The best period"), ("break_even", "Break-even points")):
        if found := findings[name]:
            blocks.append(Bullets(found, summary=f"{sentences} ({len(found)})" if len(found) > OPEN else ""))
    return Section("Other networks", blocks) if blocks else None


def _diagram(results: view.Results, diagram: dict[str, Any]) -> Block:
    arms = results["arms"]
    name = view.point_title(diagram["at"])
    latencies, bandwidths, first, won = (diagram[key] for key in ("latencies", "bandwidths", "first", "won"))
    ever = sorted({arm for row in first for arm in row if arm is not None})
    if not ever:
        return Paragraph(
            f"There is no map of networks: at {name}, no arm reaches the target in more than half of its runs on any."
        )
    panel = Map("latency (upwards); pale: undecided", latencies, bandwidths, first, won)
    figure = Panels([panel], [(arm, arms[arm]) for arm in ever], f"The arm that reaches the target first at {name}")
    across = range(0, len(bandwidths), -(-len(bandwidths) // SHOWN))
    rows = [
        [numbers.seconds(latencies[i]), *(_name(arms, first[i][j], won[i][j]) for j in across)]
        for i in range(0, len(latencies), -(-len(latencies) // SHOWN))
    ]
    head = ["latency", *(numbers.bandwidth(bandwidths[j]) for j in across)]
    table = Table("The numbers of this figure", head, [RowGroup(rows)], details=True)
    machines = f" of the machines of {diagram['price']}" if diagram.get("price") else ""
    hosts = f" between {diagram['hosts']} hosts" if diagram.get("hosts") else " between hosts"
    caption = (
        f"Who reaches the target first{machines}, by latency (one way) and bandwidth{hosts}: all from the same runs, "
        "by the median time; of arms that are equally soon, the first in the config is shown. Pale: not all others are "
        "shown to be slower, by the rule of the tables above. Blank: no arm reaches it in more than half of its runs."
    )
    return Figure("diagram", f"The winner at {name}", figure, caption, table)


def _name(arms: list[str], arm: int | None, won: bool) -> str:
    return numbers.NONE if arm is None else f"{arms[arm]}{'' if won else ' (undecided)'}"


def _sliders(results: view.Results, price: str, clock: view.RunClock) -> Sliders | None:
    """The modelled time to the target of every run as seconds + latencies x latency + bits / bandwidth. None if the
    clock is not that simple."""
    found = []
    for table in results["findings"]["tables"]:
        if table["price"] != price:
            continue
        arms = []
        for row in table["rows"]:
            cell = next(c for c in view.cells_at(results, table["at"]) if c["arm"] == row["arm"])
            runs = {run["seed"]: run for run in cell["runs"]}
            fitted = [_fitted(cell, runs[time["seed"]], time, price, clock) for time in row["times"]]
            arms.append((row["arm"], [each for each in fitted if each]))
            if not all(fitted):
                return None
        found.append((view.point_title(table["at"]), arms))
    first = next((i for i, (point, _) in enumerate(found) if point == _shown(results)), len(found) - 1)
    return Sliders(price, first, found) if found else None


def _shown(results: view.Results) -> str:
    """The point of the grid that the table shows at first: that of the diagram."""
    diagram = results["findings"]["diagram"]
    return view.point_title(diagram["at"]) if diagram else ""


def _fitted(
    cell: dict[str, Any], run: dict[str, Any], time: dict[str, Any], price: str, clock: view.RunClock
) -> list[float] | None:
    own = clock.seconds(price, cell, run)
    if own is None:
        return None
    index = int(np.argmin(np.abs(np.array(own) - time["seconds"])))  # the evaluation that reached the target

    def at(bits: float, latency: float) -> float:
        network = f"{bits / 1e6:.12g}Mbit,{latency * 1e6:.12g}us"
        parts = clock.times(cell, run, {**clock.prices[price], "network": network})
        return math.nan if parts is None else float(parts.seconds[index])

    def rows(points: tuple[tuple[float, float], ...]) -> Any:
        return np.array([[1.0, latency, 1 / bits] for bits, latency in points])

    found = np.linalg.solve(rows(PROBES), [at(*point) for point in PROBES])
    expected = np.array([at(*point) for point in CHECKS])
    if not np.all(np.abs(rows(CHECKS) @ found - expected) <= TOLERANCE * expected):
        return None
    return [float(time["seed"]), float(time["reached"]), *(float(f"{value:.6g}") for value in found)]


def checks(results: view.Results) -> Section | None:
    """Identities that must hold between cells, whatever the data. None if none was checked."""
    identities = results["findings"]["identities"]
    if not identities:
        return None
    failed = any(not each["holds"] for each in identities)
    text = "What theory says must come out, and whether it did."
    rows = [
        [
            each["name"],
            "holds" if each["holds"] else "DOES NOT HOLD",
            "; ".join(map(str, each["cells"])) or numbers.NONE,
            each["detail"],
        ]
        for each in identities
    ]
    table = Table("Identities", ["identity", "result", "cells", "detail"], [RowGroup(rows)])
    warning = (
        [Paragraph("An identity does not hold: find out why before believing the rest.", "warning")] if failed else []
    )
    return Section("Free checks", [Paragraph(text), *warning, table])
