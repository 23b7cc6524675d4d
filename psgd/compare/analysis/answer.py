"""The answer of a comparison in plain sentences."""

from collections.abc import Sequence
from typing import NamedTuple, final

from psgd.compare import numbers
from psgd.compare.analysis.grid import cell_name, point_name
from psgd.compare.analysis.tables import same_runs
from psgd.compare.methods import method_of
from psgd.compare.results_file import Json
from psgd.core.wording import counted

MAX_POINTS = 6  # of which each has a sentence; the tables have all


class Winners(NamedTuple):
    rows: list[Json]  # of the arms that reach the target first; the shortest median time first
    same: bool  # whether they do the same work in all runs, so that measured times differ by noise alone


TableWinners = tuple[Json, Winners | None]


@final
class ArmNames:
    """Gives each arm's name, followed at the first mention by its method, where that tells arms apart and the name
    does not say it."""

    def __init__(self, results: Json) -> None:
        found: dict[str, set[str]] = {}
        for cell in results["cells"]:
            found.setdefault(cell["arm"], set()).add(method_of(results, cell))
        several = len(set().union(*found.values())) > 1
        self._methods = {
            arm: next(iter(names)) for arm, names in found.items() if several and len(names) == 1 and arm not in names
        }

    def __call__(self, arm: str) -> str:
        method = self._methods.pop(arm, None)
        return f"{arm} ({method})" if method else arm


def answer(results: Json, findings: Json) -> list[str]:
    """The answer first, then what limits it."""
    target, tables, name = results["target"], findings["tables"], ArmNames(results)
    if target["value"] is None:
        return ["No run of the arm that sets the target has a score, so there is no target and no answer."]
    leads = [(table, winners(results, table)) for table in tables]
    sentences = [_overall(results, leads, name)] if len(tables) > 1 else []
    sentences += _shortest(results, leads, name)
    sentences += [_sentence(results, table, found, name) for table, found in leads[:MAX_POINTS]]
    if len(tables) > MAX_POINTS:
        sentences.append(f"The tables below have the other {len(tables) - MAX_POINTS} grid points and prices.")
    if not all(found for _, found in leads):
        sentences.append(
            "Where no arm reaches the target, a lower target.value or a larger budget.epochs may tell the arms apart; "
            "another target.value trains nothing anew."
        )
    sentences += _break_even(results, findings) + _limits(results, findings)
    return [each for each in sentences if each]


def point_of(table: Json) -> str:
    return ", ".join(filter(None, (point_name(table["at"]), f"price {table['price']}")))


def winners(results: Json, table: Json) -> Winners | None:
    """The arm with the shortest median time, and those with the same time or the same work. None if no arm has reached
    the target in more than half of its runs. Broken arms do not count."""
    cells = {cell["arm"]: cell for cell in results["cells"] if cell["at"] == table["at"] and not cell["error"]}
    rows = [row for row in table["rows"] if row["median"] is not None and row["arm"] in cells]
    if not rows:
        return None
    first = min(rows, key=lambda row: float(row["median"]))
    same = [row for row in rows if row is not first and _same_work(cells[first["arm"]], cells[row["arm"]])]
    equal = [row for row in rows if row is not first and row not in same and row["median"] == first["median"]]
    return Winners([first, *same, *equal], bool(same) and not equal)


def _same_work(one: Json, other: Json) -> bool:
    """Whether two cells have the same runs, and their workers the same speeds and rounds."""
    alike = all(one[key] == other[key] for key in ("speeds", "period"))
    return alike and len(same_runs(one, other)) == len(one["runs"]) == len(other["runs"]) > 0


def _overall(results: Json, leads: list[TableWinners], name: ArmNames) -> str:
    """Which arm is ahead at how many grid points."""
    wins: dict[tuple[str, ...], int] = {}
    for _, found in leads:
        if found:
            arms = tuple(sorted(row["arm"] for row in found.rows))
            wins[arms] = wins.get(arms, 0) + 1
    if not wins:
        return f"No arm reaches the target of {_target(results)} in more than half of its runs, at any grid point."
    counted = [
        f"{_named(arms, name)}{' together' if len(arms) > 1 else ''} in {count}"
        for arms, count in sorted(wins.items(), key=lambda item: -item[1])
    ]
    where = f"of {len(leads)} grid points and prices"
    return f"First to reach {_target(results)}, by the median time: {', '.join(counted)} {where}."


def _shortest(results: Json, leads: list[TableWinners], name: ArmNames) -> list[str]:
    """For each price, the shortest median time over the whole grid, if it has several points."""
    if not results["axes"]:
        return []
    sentences = []
    for price in dict.fromkeys(table["price"] for table, _ in leads):
        there = [(table, found) for table, found in leads if table["price"] == price and found]
        if len(there) > 1:
            table, found = min(there, key=lambda each: float(each[1].rows[0]["median"]))
            point, time = point_name(table["at"]), numbers.seconds(found.rows[0]["median"])
            arms = _named([row["arm"] for row in found.rows], name)
            are = "are" if len(found.rows) > 1 else "is"
            sentences.append(f"Price {price}: {arms} with {point} {are} first of all, in {time}.")
    return sentences


def _sentence(results: Json, table: Json, found: Winners | None, name: ArmNames) -> str:
    point = point_of(table)
    point = point[0].upper() + point[1:]
    if found is None:
        counts = ", ".join(f"{name(row['arm'])} {row['reached']} of {row['of']}" for row in table["rows"])
        return f"{point}: no arm reaches the target in more than half of its runs ({counts})."
    first, several = found.rows[0], len(found.rows) > 1
    arms = _named([row["arm"] for row in found.rows], name)
    how = ", whose runs are the same, reach" if found.same else ", equally soon, reach" if several else " reaches"
    reached = f"{arms}{how} the target first, in {numbers.seconds(first['median'])} ({_runs(first)})"
    return f"{point}: {reached}{_compared(results, table, found, name)}{_rivals(results, table, found, name)}."


def _rivals(results: Json, table: Json, found: Winners, name: ArmNames) -> str:
    """Which arms may be as fast as the first, besides the reference, whose verdict is said."""
    if found.rows[0]["arm"] == results["reference"]:
        return ""
    said = {results["reference"], *(row["arm"] for row in found.rows)}
    arms = [arm for arm in table["rivals"] if arm not in said]
    return f"; {_named(arms, name)} {'are' if len(arms) > 1 else 'is'} not shown to be slower" if arms else ""


def _named(arms: Sequence[str], name: ArmNames) -> str:
    """The names: a, a and b, or a, b and c."""
    *others, last = map(name, arms)
    return f"{', '.join(others)} and {last}" if others else last


def _compared(results: Json, table: Json, found: Winners, name: ArmNames) -> str:
    """How the first stands to the reference, or the others to it, but for those with the same runs."""
    first, several = found.rows[0], len(found.rows) > 1
    same = found.rows if found.same else []
    reference = next((row for row in table["rows"] if row["arm"] == results["reference"]), None)
    if reference is None:
        return ""
    rows = [first] if first["ratio"] else [row for row in table["rows"] if row["ratio"] and row not in same]
    said = [_standing(row, name(row["arm"]) if several or row is not first else "it", reference, name) for row in rows]
    return "".join(f"; {each}" for each in said)


def _standing(row: Json, arm: str, reference: Json, name: ArmNames) -> str:
    """How an arm, called `arm`, stands to the reference. Where runs missed the target, that is said: what is known of
    the ratio is a bound then, or nothing."""
    ratio, other = row["ratio"], name(reference["arm"])
    verdict, factor = _verdict(ratio), f"{numbers.digits(ratio['ratio'], 2)} times"
    if not _known(ratio):
        reached = f"{arm} reached the target in {_runs(row)}, {other} in {_runs(reference)}"
        return f"{reached}, and they cannot be compared ({verdict})"
    if ratio["bound"] is None:
        return f"{arm} takes {factor}{_interval(ratio)} as long as {other} ({verdict})"
    if ratio["bound"] == "at least":
        known = f"{arm} reached the target in {_runs(row)}, so it takes at least {factor} as long as {other}"
    else:
        reached = f"which reached the target in {_runs(reference)}"
        known = f"{arm} takes at most {factor} as long as {other}, {reached}"
    return f"{known}: only this bound is known ({verdict})"


def _known(ratio: Json) -> bool:
    """Whether anything is known of a ratio: a bound that it is at least a half, say, leaves all open."""
    if ratio["ratio"] is None:
        return False
    return not (
        (ratio["bound"] == "at least" and ratio["ratio"] <= 1) or (ratio["bound"] == "at most" and ratio["ratio"] >= 1)
    )


def _runs(row: Json) -> str:
    return f"{row['reached']} of {row['of']} runs"


def _interval(ratio: Json) -> str:
    """The interval of a ratio, which may be open at an end or, of a single seed, at both."""
    low, high = (None if ratio[end] is None else numbers.digits(ratio[end], 2) for end in ("low", "high"))
    if low and high:
        return f" ({low} to {high})"
    return f" ({low} or more)" if low else f" ({high} or less)" if high else ""


def _verdict(ratio: Json) -> str:
    if ratio["verdict"] == "undecided":
        return "undecided"
    strength = "an indication" if ratio["strength"] == "indication" else "a verdict"
    return f"{ratio['verdict']}, {strength} from {ratio['n']} seeds"


def _break_even(results: Json, findings: Json) -> list[str]:
    """Where the reference and each arm break even, if there is one grid point; what several prices share, once."""
    if len({point_name(table["at"]) for table in findings["tables"]}) > 1:
        return []
    prices: dict[str, list[str]] = {}
    for price in results["prices"]:
        for point in findings["break_even"]:
            _, found, sentence = point.partition(f", price {price}: ")
            if found:
                prices.setdefault(sentence, []).append(price)
    return [
        f"Price {name}: {sentence}." if len(names) == 1 else f"Prices {', '.join(names[:-1])} and {name}: {sentence}."
        for sentence, names in prices.items()
        for name in names[-1:]
    ]


def _limits(results: Json, findings: Json) -> list[str]:
    """What a reader must know before relying on it."""
    failed = [cell_name(cell) for cell in results["cells"] if cell["error"]]
    at_edge = [cell_name(cell) for cell in results["cells"] if not cell["error"] and not cell["comparable"]]
    found = [f"Failed: {'; '.join(failed)}."] if failed else []
    found += [f"Not comparable, its tuning ended at the edge: {'; '.join(at_edge)}."] if at_edge else []
    found += [f"The verdict on {flip['arm']} depends on the target." for flip in findings["flips"]]
    broken = [each for each in findings["identities"] if not each["holds"]]
    found += [f"A check fails: {each['name']} ({', '.join(each['cells'])}: {each['detail']})." for each in broken]
    diverged = sum(run["status"] == "diverged" for cell in results["cells"] for run in cell["runs"])
    if diverged:
        they = "it" if diverged == 1 else "they"
        found.append(f"{counted(diverged, 'run')} diverged; what {they} had not reached before counts as not reached.")
    return found + _beyond(results) + _flattered(results) + _busy(results)


def _beyond(results: Json) -> list[str]:
    """Name the cells that trained for longer than the budget and another interval between evaluations."""
    budget = results["budget"]
    most = budget["epochs"] + budget["evaluate_every"]
    trained = {cell_name(c): max((run.get("epochs") or 0 for run in c["runs"]), default=0) for c in results["cells"]}
    beyond = [f"{name} ({numbers.digits(epochs)} epochs)" for name, epochs in trained.items() if epochs > most]
    said = f"Trained beyond the budget of {numbers.short(budget['epochs'])} epochs, since a round is not cut"
    return [f"{said}: {'; '.join(beyond)}."] if beyond else []


def _flattered(results: Json) -> list[str]:
    """Name the cells that chose among parameters by the scores that judge them."""
    cells = [
        cell
        for cell in results["cells"]
        if cell["strategy"] == "weighted-averaging"
        and len(set(cell["speeds"])) > 1
        and {**results["base"], **cell["settings"]}.get("strategy.contraction") == "holdout"
    ]
    if not cells:
        return []
    said = "Judged by the validation data on which contraction: holdout chose in each round, which flatters"
    return [f"{said}: {'; '.join(map(cell_name, cells))}.{_costs_of_choice(cells)}"]


def _costs_of_choice(cells: list[Json]) -> str:
    """Why such a cell may look slow on a slow network: it combines, and sends, more often than others."""
    series = [(run["rounds"], run["series"].get("combinations")) for cell in cells for run in cell["runs"]]
    most = max((made[-1] / rounds for rounds, made in series if rounds and made), default=1.0)
    if most < 1.5:
        return ""
    return (
        f" To choose takes them up to {most:.1f} combinations a round, with messages for each; with a number for "
        "strategy.contraction it is 1."
    )


def _busy(results: Json) -> list[str]:
    """Which times other programs may have lengthened."""
    known = [cell for cell in results["cells"] if not cell["error"]]  # the others have no costs
    names = [cell_name(cell) for cell in known if cell.get("costs_idle") is False]
    which = "costs" if len(names) == len(known) else f"the costs of {'; '.join(names)}"
    timed = [run["measured"] for cell in results["cells"] for run in cell["runs"] if run.get("measured")]
    busy = sum(not measured["idle"] for measured in timed)
    count = "the runs" if busy == len(timed) else f"{busy} of {len(timed)} runs"
    found = [(f"{which} were measured: modelled", "costs.json")] if names else []
    found += [(f"{count} were timed: measured", "the directory timed")] if busy else []
    return [
        f"Other programs ran when {what} times may be too long; once they have ended, remove {where} and call "
        "psgd compare again."
        for what, where in found
    ]


def _target(results: Json) -> str:
    target = results["target"]
    return f"a {target['metric'].replace('_', ' ')} of {target['value']:.4g}"
