"""The command `python -m psgd.compare CONFIG`: which arm of a comparison reaches the target soonest, at what price."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import NoReturn  # noqa: E402

from psgd.compare.command import compare  # noqa: E402
from psgd.core.command import path_of, program_name, run_command  # noqa: E402
from psgd.core.errors import INTERRUPTED, UsageError  # noqa: E402
from psgd.core.log import LOG  # noqa: E402
from psgd.training.signals import exit_code_of, heeded_signals  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("compare"),
        description="Compare strategies, numbers of workers or any settings, fairly: train each arm with several "
        "seeds, and report which reaches the target soonest. Called again, it trains only what is missing.",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or a name that `psgd configs` lists")
    parser.add_argument(
        "--output", metavar="DIR", type=path_of("--output"), help="default: runs/compare/ and the config's name"
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be trained, and estimate the time")
    parser.add_argument(
        "--against", metavar="RESULTS", type=path_of("--against"), help="earlier results.json, or their directory"
    )
    parser.add_argument("--max-regress", metavar="PERCENT", help="with --against: exit with 6 beyond; default: 10%%")
    parser.add_argument("--verify", metavar="CELL", help="train a cell again, and compare the hashes")
    parser.add_argument("--group", help="with --verify: serial (the default), threads, mpi or ray")
    return parser


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line. UsageError if options contradict each other."""
    options = parser().parse_args(arguments)
    if options.max_regress is not None and not options.against:
        raise UsageError("--max-regress is for --against, the earlier results: name them")
    if options.group is not None and options.verify is None:
        raise UsageError("--group is for --verify; runs are trained serially, and timed with the group of the base")
    if options.verify is not None and (options.against or options.dry_run):
        raise UsageError("--verify trains a cell again and does nothing else: leave out --against and --dry-run")
    options.max_regress = "10%" if options.max_regress is None else options.max_regress
    options.group = options.group or "serial"
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    received: list[int] = []

    def interrupt(number: int, frame: object) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    for number in heeded_signals():  # SIGINT too, which a shell's background jobs ignore, but their runs do not
        signal.signal(number, interrupt)
    code = run_command(lambda: _compare(arguments))
    return exit_code_of(received[0]) if received and code == INTERRUPTED else code


def _compare(arguments: list[str] | None) -> None:
    try:
        compare(parse_arguments(arguments))
    except KeyboardInterrupt:
        LOG.error("psgd: interrupted; call it again to go on")
        raise


if __name__ == "__main__":
    sys.exit(main())
