"""What the command psgd.compare does, in order."""

import argparse
import sys
from pathlib import Path

from psgd.compare.comparing import Comparing
from psgd.compare.directory import RESULTS, fixed_target, open_directory
from psgd.compare.plan import Plan
from psgd.compare.runs import Runs
from psgd.config.comparison import Comparison, read_comparison
from psgd.core.files import print_result, write_json
from psgd.core.log import LOG
from psgd.data.fingerprint import fingerprint
from psgd.data.sources.load import load_data
from psgd.jobs.auto_group import cores
from psgd.training.progress_bar import bar_for


def compare(options: argparse.Namespace) -> int:
    """Carry out the comparison of the options; returns the exit code. PsgdError for what is wrong."""
    comparison = read_comparison(options.config)
    plan = Plan(comparison, _fingerprint(comparison))
    if options.dry_run:
        print_result("\n".join(describe(plan)))
        return 0
    directory = options.output or Path("runs") / "compare" / Path(options.config).stem
    open_directory(directory, comparison)
    bar = bar_for(sys.stderr)

    def watch(what: str, done: int, count: int) -> None:
        if bar:
            bar.show(done / count, f"{what}: {done} of {count} runs")

    runs = Runs(directory, cores(), watch)
    results = Comparing(plan, runs, fixed_target(directory)).carry_out()
    write_json(directory / RESULTS, results)
    LOG.info("psgd: %s", directory / RESULTS)
    return 0


def _fingerprint(comparison: Comparison) -> str:
    """Of the base's data, so that runs on other data are other runs."""
    from psgd.config.resolve import resolve

    return "".join(fingerprint(load_data(resolve(comparison.base, []).settings)).values())


def describe(plan: Plan) -> list[str]:
    """What would be trained, in lines."""
    comparison = plan.comparison
    seeds = len(comparison.seeds)
    distinct = {plan.trial(cell, seed).identity for cell in plan.cells for seed in comparison.seeds}
    lines = [f"{len(plan.cells)} cells, {seeds} seeds: {len(distinct)} distinct runs of {len(plan.cells) * seeds}"]
    lines += [f"  {cell.name}" for cell in plan.cells]
    return lines
