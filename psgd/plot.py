"""The command `python -m psgd.plot RUN [RUN ...]`: learning curves of runs as one picture."""

import argparse
import sys
from pathlib import Path

from psgd.compare.single_run.curves import read_run
from psgd.compare.single_run.picture import FORMATS, draw, labels, save
from psgd.core.command import path_of, program_name, run_command
from psgd.core.errors import UsageError
from psgd.core.files import print_result, refuse_existing


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog=program_name("plot"), description="Learning curves of runs as one picture.")
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="the directory of a run")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=path_of("--output"),
        default=Path("curves.png"),
        help="the file to write, which must not exist; default: curves.png",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    return run_command(lambda: _plot(parser().parse_args(arguments)))


def _plot(options: argparse.Namespace) -> None:
    if options.output.suffix not in FORMATS:
        raise UsageError(f"--output is {options.output}; its name must end in one of {', '.join(FORMATS)}")
    refuse_existing(options.output)
    runs = [read_run(path) for path in options.runs]
    save(draw(runs, labels(runs)), options.output)
    print_result(str(options.output))


if __name__ == "__main__":
    sys.exit(main())
