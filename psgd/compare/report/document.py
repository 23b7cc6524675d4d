"""The whole report as headings, text, tables and figures: the answer first, then what it rests on."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count

from psgd.compare import numbers
from psgd.compare.analysis import grid
from psgd.compare.report import curves, decomposition, networks, setup, tuning, verdicts, view
from psgd.compare.report.blocks import Block, Bullets, Document, Figure, Paragraph, Section
from psgd.core.wording import counted

MARGIN = "5 %"


def compose(results: view.Results, times: view.Times) -> Document:
    """Compose the report of results.json with findings. `times` prices a run."""
    clock = view.RunClock(results, times)
    answer: list[Block] = [Bullets(results["findings"]["answer"], "answer"), *verdicts.warnings(results)]
    sections = [Section("Answer", answer), *verdicts.sections(results)]
    sections += [each for each in (decomposition.section(results), networks.section(results, clock)) if each]
    sections.append(_curves(results, clock))
    sections.append(verdicts.flips(results))
    sections += [each for each in (networks.checks(results), tuning.section(results)) if each]
    sections += [_reading(results), *setup.sections(results)]
    return Document(results["question"], _about(results), _named_apart(sections))


def _named_apart(sections: list[Section]) -> list[Section]:
    """Number figures that would be one file: those of prices called `slow link`, `slow-link` and, where a file system
    does not tell them apart, `Slow link`."""
    taken: set[str] = set()

    def named(block: Block) -> Block:
        if not isinstance(block, Figure):
            return block
        name = next(name for name in _numbered(block.name) if name.casefold() not in taken)
        taken.add(name.casefold())
        return replace(block, name=name)

    return [replace(section, blocks=[named(block) for block in section.blocks]) for section in sections]


def _numbered(name: str) -> Iterator[str]:
    """The name, then name-2, name-3, ..."""
    return chain([name], (f"{name}-{number}" for number in count(2)))


def _about(results: view.Results) -> str:
    arms, points, seeds = len(results["arms"]), len(grid.grid_points(results)), len(results["seeds"])
    target = results["target"]
    value = "no target" if target["value"] is None else f"target {numbers.short(target['value'])}"
    return (
        f"psgd {results['psgd']}: {counted(arms, 'arm')} at {counted(points, 'point')} of the grid, "
        f"{counted(seeds, 'seed')} each; {view.metric_name(results)}, {value} ({target['origin']})"
    )


def _curves(results: view.Results, clock: view.RunClock) -> Section:
    figures = [figure for at in grid.grid_points(results) if (figure := curves.at_grid_point(results, at, clock))]
    measured = curves.in_measured_time(results, clock)
    blocks: list[Block] = [*figures, *([measured] if measured else [])]
    return Section("Learning curves", blocks or [Paragraph("No run has a score.", "warning")])


def _reading(results: view.Results) -> Section:
    reference = results["reference"]
    lines = [
        "Seeds: a seed decides initial parameters and batches; arms are compared seed by seed, so luck cancels out.",
        "Censoring: a run that misses the target within the budget is not dropped; its time is “more than the budget”, "
        "and a pair in which one of two runs missed it bounds the ratio on one side.",
        "Reached: the first evaluation at which the score is at the target, unsmoothed; the run got there at some time "
        "between the evaluation before and this one, and the later is what is used.",
        "Median time, and epochs, bytes sent by a worker, dollars and Wh until the target: medians over all runs, of "
        "which one that missed the target needs infinitely much; a dash unless more than half of them reached it. "
        "Restricted mean: of all runs, with the time at the end of the budget for those that missed it; arms spend an "
        "equal budget of epochs in different times, so it compares arms only where nearly all runs reached the target.",
        f"Ratio: the geometric mean over seeds of the time divided by that of {reference}, with a 95 % interval "
        f"(paired t on logarithms, of what lies between two evaluations too). Faster or slower: it lies more than "
        f"{MARGIN} from 1; equivalent: it lies within {MARGIN} of 1; undecided: neither; more seeds may decide, or "
        "more frequent evaluations, which narrow the interval. An end that is open is a dash.",
        "Indication or verdict: up to 5 pairs give an indication; 6 and more give a verdict. p is corrected for the "
        "number of arms by Holm's method.",
        "Measured and modelled: measured seconds were taken on this machine. Modelled seconds are computed from costs "
        "measured on this machine and the messages that psgd sends. They never stand in one column.",
        "Not comparable: the best value of the tuned setting was still at the edge of its range after two extensions, "
        "so the arm may do better than shown.",
        "Final and best: means over seeds of the last and of the best validation score; a dash if a run has none, as "
        "the last of one that diverged. Test scores are in series.csv; nothing was chosen by them.",
    ]
    return Section("How to read this", [Bullets(lines)])
