"""What the command psgd.compare does, in order."""

import argparse
import sys
import time
from pathlib import Path

from psgd.compare.analysis.findings import findings
from psgd.compare.analysis.regression import find_regressions, parse_share
from psgd.compare.cost_cache import CostCache
from psgd.compare.directory import check_directory, earlier_results, open_comparison
from psgd.compare.dry_run import describe_plan
from psgd.compare.modelled.clock import times
from psgd.compare.plan import ComparisonPlan, Fingerprints
from psgd.compare.report.write import write_report
from psgd.compare.results_file import RESULTS, read_results
from psgd.compare.runner import ComparisonRunner
from psgd.compare.runs import Runs, Watch
from psgd.compare.verify import verify
from psgd.config.comparison_file import read_comparison
from psgd.config.shipped import find_comparison
from psgd.core.cores import cores
from psgd.core.errors import UsageError
from psgd.core.files import print_result, write_json
from psgd.core.launcher import disconnected, launched, rank, unconnected_tasks
from psgd.core.log import LOG
from psgd.training.progress_bar import bar_for

LINE_SECONDS = 5.0  # between two lines about how many runs have ended


def compare(options: argparse.Namespace) -> None:
    """Carry out what the options ask for. PsgdError for what is wrong."""
    if launched() or disconnected() or unconnected_tasks():
        if rank():
            return  # the first process says what is wrong
        raise UsageError(
            "a launcher of parallel programs started this process, but psgd compare starts its runs itself, on all "
            "cores of this machine: call it without the launcher"
        )
    most = parse_share(options.max_regress)
    before = read_results(options.against) if options.against else None
    config, notes = find_comparison(options.config)
    for note in notes:
        LOG.info("psgd: %s", note)
    comparison = read_comparison(config)
    directory = options.output or Path("runs") / "compare" / Path(config).stem
    if options.verify is not None:
        print_result("\n".join(verify(directory, read_results(directory), options.verify, options.group)))
        return
    plan = ComparisonPlan(comparison, Fingerprints())
    if options.dry_run:
        check_directory(directory, comparison, plan.base)
        print_result("\n".join(describe_plan(plan, directory, cores())))
        return
    open_comparison(directory, comparison, plan.base)
    runs, costs = Runs(directory, cores(), _watcher()), CostCache(directory)
    results = ComparisonRunner(plan, runs, costs, earlier_results(directory)).run()
    if not runs.trained:
        LOG.info("psgd: nothing to train: all %d runs are there", len(runs.wanted))
    results["findings"] = findings(results)
    write_json(directory / RESULTS, results)
    write_report(directory, results, times)
    print_result("\n".join(results["findings"]["answer"]))
    LOG.info("psgd: the report is %s", directory / "report.html")
    if before:
        print_result("\n".join(find_regressions(results, before, most)))


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
