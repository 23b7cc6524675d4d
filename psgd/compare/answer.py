"""The answer of a comparison in plain sentences."""

from typing import Any

from psgd.compare import numbers
from psgd.compare.cells import cell_name, place_name

Json = dict[str, Any]

MAX_PLACES = 6  # of which each has a sentence; the tables have all


def answer(results: Json, findings: Json) -> list[str]:
    """The answer first, then what limits it."""
    target, tables = results["target"], findings["tables"]
    if target["value"] is None:
        return ["No run of the arm that sets the target has a score, so there is no target and no answer."]
    sentences = [_overall(results, tables)] if len(tables) > 1 else []
    sentences += _shortest(results, tables)
    sentences += [_sentence(results, table) for table in tables[:MAX_PLACES]]
    if len(tables) > MAX_PLACES:
        sentences.append(f"The tables below have the other {len(tables) - MAX_PLACES} places and prices.")
    sentences += _break_even(results, findings) + _limits(results, findings)
    return [each for each in sentences if each]


def winner(table: Json) -> Json | None:
    """The row of the arm with the shortest median time; None if no arm has one."""
    reached = [row for row in table["rows"] if row["median"] is not None]
    return min(reached, key=lambda row: float(row["median"]), default=None)


def place_of(table: Json) -> str:
    return ", ".join(filter(None, (place_name(table["at"]), f"price {table['price']}")))


def _overall(results: Json, tables: list[Json]) -> str:
    """Which arm is ahead in how many places."""
    wins: dict[str, int] = {}
    for table in tables:
        first = winner(table)
        if first:
            wins[first["arm"]] = wins.get(first["arm"], 0) + 1
    if not wins:
        return f"No arm reaches the target of {_target(results)} in more than half of its runs, at any place."
    counted = [f"{arm} in {count}" for arm, count in sorted(wins.items(), key=lambda item: -item[1])]
    where = f"of {len(tables)} places and prices"
    return f"First to reach {_target(results)}, by the median time: {', '.join(counted)} {where}."


def _shortest(results: Json, tables: list[Json]) -> list[str]:
    """For each price, the shortest median time over the whole grid, if it has several places."""
    if not results["axes"]:
        return []
    sentences = []
    for price in dict.fromkeys(table["price"] for table in tables):
        there = [(table, first) for table in tables if table["price"] == price and (first := winner(table))]
        if len(there) > 1:
            table, first = min(there, key=lambda each: float(each[1]["median"]))
            place, time = place_name(table["at"]), numbers.seconds(first["median"])
            sentences.append(f"Price {price}: {first['arm']} with {place} is first of all, in {time}.")
    return sentences


def _sentence(results: Json, table: Json) -> str:
    first = winner(table)
    place = place_of(table)
    place = place[0].upper() + place[1:]
    if first is None:
        counts = ", ".join(f"{row['arm']} {row['reached']} of {row['of']}" for row in table["rows"])
        return f"{place}: no arm reaches the target in more than half of its runs ({counts})."
    reached = f"in {numbers.seconds(first['median'])} ({first['reached']} of {first['of']} runs)"
    return f"{place}: {first['arm']} reaches the target first, {reached}{_compared(results, table, first)}."


def _compared(results: Json, table: Json, first: Json) -> str:
    """How the first stands to the reference, or the reference to the others."""
    ratio = first["ratio"]
    if ratio:
        return f"; {_ratio(ratio)} the time of {results['reference']}: {_verdict(ratio)}"
    others = [(row["arm"], row["ratio"]) for row in table["rows"] if row["ratio"]]
    said = [f"{arm} takes {_ratio(ratio)} its time ({_verdict(ratio)})" for arm, ratio in others]
    return f"; {', '.join(said)}" if said else ""


def _ratio(ratio: Json) -> str:
    if ratio["ratio"] is None:
        return "somewhere between less and more than"
    bound = f"{ratio['bound']} " if ratio["bound"] else ""
    low, high = ("?" if ratio[end] is None else numbers.digits(ratio[end], 2) for end in ("low", "high"))
    return f"{bound}{numbers.digits(ratio['ratio'], 2)} times ({low} to {high})"


def _verdict(ratio: Json) -> str:
    if ratio["verdict"] == "undecided":
        return "undecided"
    strength = "an indication" if ratio["strength"] == "indication" else "a verdict"
    return f"{ratio['verdict']}, {strength} from {ratio['n']} seeds"


def _break_even(results: Json, findings: Json) -> list[str]:
    """Where the reference and each arm break even, if there is one place; what is the same at several prices, once."""
    if len({place_name(table["at"]) for table in findings["tables"]}) > 1:
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
    names: dict[bool, list[str]] = {True: [], False: []}
    for cell in results["cells"]:
        if cell["error"] or not cell["comparable"]:
            names[bool(cell["error"])].append(cell_name(cell))
    found = [f"Failed: {'; '.join(names[True])}."] if names[True] else []
    found += [f"Not comparable, its tuning ended at the edge: {'; '.join(names[False])}."] if names[False] else []
    found += [f"The verdict on {flip['arm']} depends on the target." for flip in findings["flips"]]
    broken = [each for each in findings["identities"] if not each["holds"]]
    found += [f"A check fails: {each['name']} ({', '.join(each['cells'])}: {each['detail']})." for each in broken]
    diverged = sum(run["status"] == "diverged" for cell in results["cells"] for run in cell["runs"])
    return found + ([f"{diverged} runs diverged and count as not having reached the target."] if diverged else [])


def _target(results: Json) -> str:
    target = results["target"]
    return f"a {target['metric'].replace('_', ' ')} of {target['value']:.4g}"
