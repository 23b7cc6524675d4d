"""Tables of the time to the target: who is ahead, by how much, and how sure that is."""

from typing import Any

from psgd.compare import numbers
from psgd.compare.analysis import grid
from psgd.compare.report import view
from psgd.compare.report.blocks import Block, Bullets, Paragraph, RowGroup, Section, Table


def sections(results: view.Results) -> list[Section]:
    """An overview of all verdicts, then a table for each price."""
    tables = results["findings"]["tables"]
    if not tables:
        return [Section("Time to the target", [Paragraph("There is no target, or no run could be timed.", "warning")])]
    goal = f"{view.metric_name(results)} {numbers.short(results['target']['value'])}"
    intro = Paragraph(
        f"Time until a run first reaches {goal}, and its ratio to the time of {results['reference']}: below 1 is "
        "faster. “3 of 3” says how many of the runs reached the target."
    )
    found = [Section("Time to the target", [intro])]
    if len(tables) > 1:
        found[0].blocks.append(_overview(results))
    for price in results["prices"]:
        mine = [table for table in tables if table["price"] == price]
        if mine:
            title = view.price_name(results, price)
            found.append(Section(title, [_table(results, mine), _seeds(mine)], sub=True))
    return found


def _overview(results: view.Results) -> Table:
    prices = list(results["prices"])
    rows = []
    for at in grid.grid_points(results):
        row = [view.point_title(at)]
        for price in prices:
            table = next((t for t in results["findings"]["tables"] if t["at"] == at and t["price"] == price), None)
            rows_of = [each for each in table["rows"] if each["ratio"]] if table else []
            row.append("\n".join(f"{each['arm']}: {_brief(each['ratio'])}" for each in rows_of) or numbers.NONE)
        rows.append(row)
    return Table(f"Verdicts against {results['reference']}", ["at", *prices], [RowGroup(rows)])


def _brief(ratio: dict[str, Any]) -> str:
    bound = f"{ratio['bound']} " if ratio["bound"] else ""
    value = "" if ratio["ratio"] is None else f" ({bound}{numbers.digits(ratio['ratio'], 2)})"
    return f"{ratio['verdict']}{value}"


def _table(results: view.Results, tables: list[dict[str, Any]]) -> Table:
    rows = [row for table in tables for row in table["rows"]]
    money = any(row.get("dollars") is not None for row in rows)
    energy = any(row.get("watt_hours") is not None for row in rows)
    head = ["arm", "verdict", "median time", f"ratio to {results['reference']}", "95 % interval", "pairs", "p"]
    head += [
        "restricted mean",
        "epochs",
        "sent by a worker",
        "final score",
        "best score",
        *(["dollars"] if money else []),
        *(["Wh"] if energy else []),
    ]
    groups = []
    for table in tables:
        inside = []
        for cell in view.cells_at(results, table["at"]):
            row = next((each for each in table["rows"] if each["arm"] == cell["arm"]), None)
            if cell["error"] or not row:
                why = f"broken: {cell['error']}" if cell["error"] else "no time: nothing was measured or modelled"
                inside.append([cell["arm"], why, *[numbers.NONE] * (len(head) - 2)])
                continue
            inside.append(_row(cell, row, cell["arm"] == results["reference"], money, energy))
        groups.append(RowGroup(inside, view.point_title(table["at"])))
    numeric = frozenset(range(2, len(head)))
    return Table("Times to the target, and their ratios", head, groups, numeric)


def _row(cell: dict[str, Any], row: dict[str, Any], reference: bool, money: bool, energy: bool) -> list[str]:
    ratio = row["ratio"]
    cells = [
        cell["arm"],
        _verdict(cell, ratio, reference),
        f"{numbers.seconds(row['median'])} ({row['reached']} of {row['of']})",
        *(_ratio(ratio) if ratio else [numbers.NONE] * 4),
        numbers.seconds(row["restricted_mean"]),
        numbers.digits(row["epochs_median"]),
        numbers.data_size(row["bytes_median"]),
        numbers.share(row["final"]),
        numbers.share(row["best"]),
    ]
    cells += [numbers.digits(row["dollars"])] if money else []
    return cells + ([numbers.digits(row["watt_hours"])] if energy else [])


def _ratio(ratio: dict[str, Any]) -> list[str]:
    """The cells for the ratio, its interval (an end that is open: a dash), the number of pairs, and p."""
    bound = f"{ratio['bound']} " if ratio["bound"] else ""
    censored = f", {ratio['pairs_censored']} censored" if ratio["pairs_censored"] else ""
    ends = [numbers.digits(ratio[end]) for end in ("low", "high")]
    return [
        bound + numbers.digits(ratio["ratio"]),
        " to ".join(ends) if set(ends) != {numbers.NONE} else numbers.NONE,
        f"{ratio['n']}{censored}",
        numbers.digits(ratio["p_holm"], 2),
    ]


def _verdict(cell: dict[str, Any], ratio: dict[str, Any] | None, reference: bool) -> str:
    text = ratio["verdict"] if ratio else "reference" if reference else "the reference has no time here"
    if text in ("faster", "slower", "equivalent") and ratio:
        text += f" ({ratio['strength']})"
    return text if cell["comparable"] else f"{text}; not comparable"


def _seeds(tables: list[dict[str, Any]]) -> Table:
    """The time of every run, as the interval between two evaluations in which it reached the target."""
    seeds = sorted({time["seed"] for table in tables for row in table["rows"] for time in row["times"]})
    groups = []
    for table in tables:
        rows = []
        for row in table["rows"]:
            of = {time["seed"]: time for time in row["times"]}
            rows.append([row["arm"], *(_time(of[seed]) if seed in of else numbers.NONE for seed in seeds)])
        groups.append(RowGroup(rows, view.point_title(table["at"])))
    head = ["arm", *(f"seed {seed}" for seed in seeds)]
    return Table("The time of every run", head, groups, frozenset(range(1, len(head))), details=True)


def _time(time: dict[str, Any]) -> str:
    if not time["reached"]:
        return f"not within {numbers.seconds(time['seconds'])}"
    return f"{numbers.seconds(time['low'])} to {numbers.seconds(time['seconds'])}"


def flips(results: view.Results) -> Section:
    """Whether the verdict depends on the target."""
    findings = results["findings"]
    targets = [numbers.short(value) for value in findings["targets"]]
    blocks: list[Block] = []
    if not findings["flips"]:
        tried = f" tried ({', '.join(targets)})" if targets else ""
        none = f"No verdict turns from faster to slower, or back, among the targets{tried}."
        blocks.append(Paragraph(f"{none} One that is undecided cannot, so that this says nothing of it."))
        return Section("Does the verdict depend on the target?", blocks)
    rows = []
    for flip in findings["flips"]:
        verdicts = {numbers.short(float(target)): verdict for target, verdict in flip["verdicts"].items()}
        rows.append(
            [
                view.point_title(flip["at"]),
                flip["price"],
                flip["arm"],
                *(verdicts.get(t, numbers.NONE) for t in targets),
            ]
        )
    blocks.append(
        Paragraph("These verdicts change with the target; do not rely on them at one target alone.", "warning")
    )
    blocks.append(Table("Verdicts by target", ["at", "price", "arm", *targets], [RowGroup(rows)]))
    return Section("Does the verdict depend on the target?", blocks)


def warnings(results: view.Results) -> list[Block]:
    """What a reader must know before believing the answer: broken, incomparable and unreached cells."""
    broken = [f"{grid.cell_name(cell)} is broken: {cell['error']}" for cell in results["cells"] if cell["error"]]
    apart = [
        f"{grid.cell_name(cell)} is not comparable: {cell['why_not']}"
        for cell in results["cells"]
        if not cell["comparable"] and not cell["error"]
    ]
    failed = [
        f"{grid.cell_name(cell)}, seed {run['seed']}: {run['status']}{': ' + run['error'] if run['error'] else ''}"
        for cell in results["cells"]
        for run in cell["runs"]
        if run["status"] != "done"
    ]
    return [Bullets(broken + apart + failed, "warning")] if broken + apart + failed else []
