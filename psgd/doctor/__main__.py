"""The command `psgd doctor`: what psgd needs of this machine, and what to do where something is wrong."""

import argparse
import sys
from dataclasses import asdict

from psgd.core.command import program_name, run_command
from psgd.core.errors import UsageError
from psgd.core.files import print_result, to_json
from psgd.doctor.finding import Finding
from psgd.doctor.isolation import run_isolated
from psgd.doctor.present import on_terminal, show, summary
from psgd.doctor.table import CHECKS


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("doctor"),
        description="Check this machine: Python and libraries, BLAS, cores, memory, MPI, Ray, GPU, data, and where "
        "psgd writes files. Changes nothing. Exits with 2 if something is wrong.",
    )
    parser.add_argument("--json", action="store_true", help="print a list of {check, level, text, advice, details}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 if anything is wrong."""
    found: list[Finding] = []
    code = run_command(lambda: _examine(parser().parse_args(arguments).json, found))
    return code or (UsageError.code if any(each.level == "wrong" for each in found) else 0)


def _examine(as_json: bool, found: list[Finding]) -> None:
    """Run all checks, show each as soon as it is done, and add what they find to `found`."""
    terminal = on_terminal()
    for findings in run_isolated(CHECKS):
        found += findings
        if not as_json:
            for finding in findings:
                print_result(show(finding, terminal))
    print_result(to_json([asdict(each) for each in found], indent=2) if as_json else summary(found))


if __name__ == "__main__":
    sys.exit(main())
