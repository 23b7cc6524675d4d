"""What was run: settings and their difference from the base, prices, the machine, every run and its hash."""

import json
from typing import Any

from psgd.compare import numbers
from psgd.compare.analysis import grid
from psgd.compare.methods import method_of
from psgd.compare.report import view
from psgd.compare.report.blocks import Block, Code, Paragraph, RowGroup, Section, Table


def sections(results: view.Results) -> list[Section]:
    """Everything needed to repeat the comparison."""
    budget = results["budget"]
    seeds = ", ".join(str(seed) for seed in results["seeds"])
    intro = Paragraph(
        "For a seed, arms with the same model and data settings had the same initial parameters and data. Every arm "
        f"had a budget of {numbers.short(budget['epochs'])} epochs, and was trained to the end of the round that spent "
        f"it. It was evaluated every {numbers.short(budget['evaluate_every'])} epochs, or as often as rounds ended, "
        f"which is not timed. Seeds: {seeds}. {_target(results)}"
    )
    blocks: list[Block] = [
        intro,
        _cells(results),
        _differences(results),
        _settings("The base's settings", results["base"]),
        Code("The comparison's config", _indented(results["config"])),
    ]
    prices = [[view.price_name(results, name), *_rates(price)] for name, price in results["prices"].items()]
    head = ["price", "dollars an hour, a host", "watts a host"]
    blocks.append(Table("Prices", head, [RowGroup(prices)], frozenset({1, 2})))
    return [Section("What was run", blocks), _machine(results), _runs(results)]


def _target(results: view.Results) -> str:
    target = results["target"]
    value = "none" if target["value"] is None else numbers.short(target["value"])
    note = f": {target['note']}" if target["note"] else ""
    own = ""
    if target["origin"] == "auto":
        own = (
            " At least half of the runs that set it reach it by construction, so that their arm is first by the median "
            "more often than an equal one: what counts is the verdict."
        )
    return f"Target: {view.metric_name(results)} {value} ({target['origin']}{note}).{own}"


def _rates(price: Any) -> list[str]:
    if price == "measured":
        return [numbers.NONE, numbers.NONE]
    return [numbers.digits(price.get("dollars_per_host_hour")), numbers.digits(price.get("watts_per_host"))]


def _cells(results: view.Results) -> Table:
    groups = []
    for at in grid.grid_points(results):
        rows = []
        for cell in view.cells_at(results, at):
            tuned = " (tuned)" if "optimizer.learning_rate" in cell["tuned"] else ""
            rows.append(
                [
                    cell["arm"],
                    method_of(results, cell),
                    numbers.NONE if cell["period"] is None else str(cell["period"]),
                    str(cell["workers"]),
                    _speeds(cell["speeds"]),
                    numbers.count(cell["batch"]),
                    numbers.short(cell["learning_rate"]) + tuned,
                    numbers.count(cell["parameters"]),
                    numbers.data_size(cell["message_bytes"]),
                ]
            )
        groups.append(RowGroup(rows, view.point_title(at)))
    head = ["arm", "strategy", "period", "workers", "speeds", "batch", "learning rate", "parameters", "contribution"]
    return Table("Cells", head, groups, frozenset({2, 3, 5, 6, 7, 8}))


def _speeds(speeds: list[float]) -> str:
    """Speeds of workers in short: "all equal", or a list that ends after eight."""
    if len(set(speeds)) <= 1:
        return "all equal"
    return ", ".join(numbers.short(speed) for speed in speeds[:8]) + (", …" if len(speeds) > 8 else "")


def _differences(results: view.Results) -> Table:
    """For each arm the settings that differ from the base in the same way everywhere, then those of each cell."""
    groups = []
    for arm in results["arms"]:
        mine = [cell for cell in results["cells"] if cell["arm"] == arm]
        if not mine:
            continue
        everywhere = {k: v for k, v in mine[0]["settings"].items() if all(c["settings"].get(k, c) == v for c in mine)}
        rows = [["everywhere", _listed(everywhere)]] if everywhere else []
        for cell in mine:
            own = {key: value for key, value in cell["settings"].items() if key not in everywhere}
            if own:
                rows.append([view.point_title(cell["at"]), _listed(own)])
        groups.append(RowGroup(rows or [["everywhere", "nothing"]], arm))
    return Table("Settings that differ from the base", ["at", "settings"], groups, mono=frozenset({1}))


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _settings(caption: str, settings: dict[str, Any]) -> Code:
    return Code(caption, "\n".join(f"{key}: {_value(value)}" for key, value in settings.items()))


def _indented(value: Any, depth: int = 0) -> str:
    """Nested mappings as indented lines, in the manner of YAML."""
    lines = []
    for key, each in value.items():
        if isinstance(each, dict) and each:
            lines += ["  " * depth + f"{key}:", _indented(each, depth + 1)]
        else:
            lines.append("  " * depth + f"{key}: {_value(each)}")
    return "\n".join(lines)


def _machine(results: view.Results) -> Section:
    machine = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    rows = [
        ["psgd", results["psgd"]],
        ["processor", machine["cpu"]],
        ["cores", str(machine["cores"])],
        ["system", machine["platform"]],
        ["Python", machine["python"]],
        ["packages", packages],
        ["BLAS", machine["blas"]],
    ]
    known = [cell for cell in results["cells"] if cell["costs"]]
    blocks: list[Block] = [Table("Machine", ["what", "which"], [RowGroup(rows)])]
    if known:
        parts = ("step", "leaf", "apply", "rest")
        costs = [
            [grid.cell_name(cell), *(numbers.seconds(cell["costs"].get(part)) for part in parts)] for cell in known
        ]
        head = ["cell", "a local step", "reducing a contribution", "applying the sum", "the loop, a round"]
        caption = "Costs measured on this machine, from which modelled times are computed"
        blocks.append(Table(caption, head, [RowGroup(costs)], frozenset({1, 2, 3, 4}), details=True))
    return Section("The machine", blocks, sub=True)


def _runs(results: view.Results) -> Section:
    rows = []
    for cell in results["cells"]:
        for run in cell["runs"]:
            status = run["status"] + (f": {run['error']}" if run["error"] else "")
            rows.append(
                [grid.cell_name(cell), str(run["seed"]), run["id"], status, numbers.count(run["rounds"]), _steps(run)]
            )
            rows[-1] += [_measured(run), run["sha256"] or numbers.NONE]
    head = ["cell", "seed", "run", "status", "rounds", "steps of a worker", "measured on", "SHA-256 of the parameters"]
    table = Table("Runs", head, [RowGroup(rows)], frozenset({1, 4, 5}), details=True, mono=frozenset({2, 7}))
    text = Paragraph(
        "The same config, seed and kind of processor give the same hash on any group and number of processes."
    )
    return Section("Runs and hashes", [text, table], sub=True)


def _steps(run: dict[str, Any]) -> str:
    steps = run["worker_steps"]
    if not steps:
        return numbers.NONE
    least, most = min(steps), max(steps)
    return numbers.count(least) if least == most else f"{numbers.count(least)} to {numbers.count(most)}"


def _measured(run: dict[str, Any]) -> str:
    measured = run["measured"]
    if not measured:
        return numbers.NONE
    busy = "" if measured["idle"] else "; the machine was not idle"
    times = len(measured["seconds"])
    processes = f"{measured['processes']} process{'es' * (measured['processes'] != 1)}"
    return f"{measured['group']}, {processes}, {'once' if times == 1 else f'{times} times'}{busy}"
