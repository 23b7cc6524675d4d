"""The full series of all runs as CSV: one row an evaluation."""

import csv
import io
from typing import Any

from psgd.compare.analysis.grid import examples_per_epoch
from psgd.compare.modelled import work
from psgd.compare.report import view

SCORES = ("validation_accuracy", "validation_loss", "test_accuracy", "test_loss")


def table(results: view.Results, times: view.Times) -> str:
    """CSV with arm, axes, seed, run, examples, epochs, rounds, bytes sent by a worker, scores, and seconds at every
    price. A value that is unknown is empty."""
    clock = view.RunClock(results, times)
    prices = list(results["prices"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = list(results["axes"])
    head = ["arm", *axes, "seed", "run", "status", "evaluation", "examples", "epochs", "rounds", "bytes", *SCORES]
    writer.writerow([*head, *(_column(results, price) for price in prices)])
    for cell in results["cells"]:
        epoch = examples_per_epoch(results, cell)
        for run in cell["runs"]:
            series, sent = run["series"], work.sent(cell, run)
            seconds = [clock.seconds(price, cell, run) for price in prices]
            for i, examples in enumerate(series.get("examples", ())):
                row: list[Any] = [cell["arm"], *(cell["at"].get(axis, "") for axis in axes), run["seed"], run["id"]]
                row += [run["status"], i + 1, examples, f"{examples / epoch:.6g}" if epoch else ""]
                row += [series["rounds"][i], int(sent[i])]
                row += [_at(series.get(score), i) for score in SCORES]
                writer.writerow([*row, *(_at(each, i) for each in seconds)])
    return text.getvalue()


def _column(results: view.Results, price: str) -> str:
    kind = "measured" if results["prices"][price] == "measured" else "modelled"
    return f"{kind} seconds: {price}"


def _at(values: list[float] | None, index: int) -> str:
    value = values[index] if values is not None and index < len(values) else None
    return "" if value is None else f"{value:.9g}"
