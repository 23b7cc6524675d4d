"""The command `python -m psgd.report DIR`: the report of a comparison, rebuilt from its results without training."""

import argparse
import sys
from pathlib import Path

from psgd.compare.analysis.findings import findings
from psgd.compare.modelled.clock import times
from psgd.compare.report.write import write_report
from psgd.compare.results_file import read_results
from psgd.core.command import program_name, run_command
from psgd.core.files import print_result


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("report"),
        description="Rebuild report.html, report.md, series.csv and the figures of a comparison from its results.json, "
        "without training.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory that psgd compare made")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    return run_command(lambda: _report(parser().parse_args(arguments).directory))


def _report(path: Path) -> None:
    results = read_results(path)
    directory = path.parent if path.is_file() else path
    results["findings"] = findings(results)  # anew: those in the file may be of an earlier psgd
    write_report(directory, results, times)
    print_result(str(directory / "report.html"))


if __name__ == "__main__":
    sys.exit(main())
