#!/usr/bin/env python
"""Measure how long pricing takes: python scripts/bench_prices.py

1,000 prices of a finished comparison of 9 cells, 3 seeds and 20 evaluations a run: less than a second is wanted (exit
code 1 if it takes longer). The comparison is made up; nothing is trained, and no learner is imported.
"""

import itertools
import sys
import time
from typing import Any

from psgd.compare.modelled.clock import times

CELLS, SEEDS, EVALUATIONS = 9, 3, 20
LIMIT = 1.0  # seconds


def comparison() -> list[dict[str, Any]]:
    strategies = "gradient-averaging", "parameter-averaging", "weighted-averaging"
    costs = {"step": 1e-3, "leaf": 1e-5, "apply": 1e-5, "rest": 5e-5, "barrier": 5e-6}
    cells = []
    for strategy, workers in itertools.product(strategies, (1, 2, 4)):
        period = 1 if strategy == "gradient-averaging" else 50
        rounds = [60_000 * i // (100 * workers * period) for i in range(EVALUATIONS)]
        run = {"rounds": rounds[-1], "worker_steps": [rounds[-1] * period] * workers, "series": {"rounds": rounds}}
        cells.append(
            {
                "strategy": strategy,
                "workers": workers,
                "speeds": [1.0, 0.5, 0.29, 0.25][:workers],
                "period": period,
                "message_bytes": 10**6,
                "costs": costs,
                "runs": [{**run, "seed": seed} for seed in range(SEEDS)],
            }
        )
    return cells


def main() -> int:
    cells = comparison()
    assert len(cells) == CELLS
    prices = [
        {"hosts": 4, "network": f"{bandwidth}Mbit,{latency}us"}
        for bandwidth, latency in itertools.product(range(1, 9999, 250), range(1, 9999, 400))
    ]
    began = time.perf_counter()
    for price in prices:
        for cell in cells:
            for run in cell["runs"]:
                times(cell, run, price)
    took = time.perf_counter() - began
    print(f"{len(prices):,} prices of {CELLS} cells x {SEEDS} seeds x {EVALUATIONS} evaluations: {took:.2f} s")
    assert "psgd.learners" not in sys.modules
    return int(took * 1000 / len(prices) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
