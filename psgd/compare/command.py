"""What the command psgd.compare does, in order."""

import argparse
import sys
import time
from pathlib import Path

from psgd.compare.clock import times
from psgd.compare.comparing import Comparing
from psgd.compare.cost_book import CostBook
from psgd.compare.directory import RESULTS, fixed_target, open_directory, read_results
from psgd.compare.findings import findings
from psgd.compare.plan import Plan
from psgd.compare.regression import check, parse_share
from psgd.compare.report.write import write_report
from psgd.compare.runs import Runs, Watch
from psgd.compare.verify import verify
from psgd.config.comparison import Comparison, read_comparison
from psgd.core.files import print_result, write_json
from psgd.core.log import LOG
from psgd.data.fingerprint import fingerprint
from psgd.data.sources.load import load_data
from psgd.jobs.auto_group import cores
from psgd.training.progress_bar import bar_for

LINE_SECONDS = 5.0  # between two lines about how many runs have ended


def compare(options: argparse.Namespace) -> int:
    """Carry out the comparison of the options; returns the exit code. PsgdError for what is wrong."""
    comparison = read_comparison(options.config)
    plan = Plan(comparison, _fingerprint(comparison))
    if options.dry_run:
        print_result("\n".join(describe(plan)))
        return 0
    directory = options.output or Path("runs") / "compare" / Path(options.config).stem
    open_directory(directory, comparison)
    if options.verify:
        print_result("\n".join(verify(directory, read_results(directory), options.verify, options.group)))
        return 0
    most = parse_share(options.max_regress)
    before = read_results(options.against) if options.against else None
    runs, costs = Runs(directory, cores(), _watcher()), CostBook(directory)
    results = Comparing(plan, runs, costs, fixed_target(directory)).carry_out()
    results["findings"] = findings(results)
    write_json(directory / RESULTS, results)
    write_report(directory, results, times)
    print_result("\n".join(results["findings"]["answer"]))
    LOG.info("psgd: the report is %s", directory / "report.html")
    if before:
        print_result("\n".join(check(results, before, most)))
    return 0


def _watcher() -> Watch:
    """Show how many runs have ended: by a bar on a terminal, elsewhere by a line now and then."""
    bar = bar_for(sys.stderr)
    said = time.monotonic()

    def watch(what: str, done: int, count: int) -> None:
        nonlocal said
        text = f"{what}: {done} of {count} runs"
        if bar:
            bar.show(done / count, text)
            if done == count:
                bar.clear()
        elif time.monotonic() - said > LINE_SECONDS or done == count:
            said = time.monotonic()
            LOG.info("psgd: %s", text)

    return watch


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
