"""The command `python -m psgd.explain RUN`: how a run combined its workers, with its numbers."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from psgd.compare.single_run.explain import explain  # noqa: E402
from psgd.core.command import program_name, run_command  # noqa: E402
from psgd.core.files import print_result  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("explain"),
        description="Explain a run: the formula by which its strategy combines the workers, with the run's numbers; "
        "the weights of the workers, their steps, who waited for whom, and what was sent.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the directory of a run")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    return run_command(lambda: print_result("\n".join(explain(parser().parse_args(arguments).run))))


if __name__ == "__main__":
    sys.exit(main())
