"""All findings of a comparison, from results.json: numbers, checks, what networks change, and sentences."""

from psgd.compare.analysis.answer import answer
from psgd.compare.analysis.best_period import best_period
from psgd.compare.analysis.break_even import break_even
from psgd.compare.analysis.diagram import diagram, left_out
from psgd.compare.analysis.identities import identities
from psgd.compare.analysis.tables import analyse
from psgd.compare.results_file import Json


def findings(results: Json) -> Json:
    """Return the entry `findings` of results.json. Trains nothing, and needs no learner."""
    found = {**analyse(results), "identities": identities(results)}
    known = results["target"]["value"] is not None
    found["break_even"] = break_even(results) if known else []
    found["best_period"] = best_period(results) if known else []
    found["diagram"] = diagram(results) if known else None
    found["left_out"] = left_out(results) if known else []
    found["answer"] = answer(results, found)
    return found
