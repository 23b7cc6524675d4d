"""The command `psgd configs [NAME ...] [--copy DIR]`: the configs and scripts that come with psgd."""

import argparse
import sys

from psgd.config.shipped import about, find_named, shipped
from psgd.config.shipped_copies import copy
from psgd.core.command import path_of, program_name, run_command
from psgd.core.files import print_result


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("configs"),
        description="List the configs and scripts that come with psgd, print those that are named, or copy them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to print or copy; none: list or copy all")
    parser.add_argument(
        "--copy", metavar="DIR", type=path_of("--copy"), help="copy into this directory; no file is overwritten"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    return run_command(lambda: _configs(parser().parse_args(arguments)))


def _configs(options: argparse.Namespace) -> None:
    names = [find_named(name) for name in options.names]
    if options.copy:
        print_result("\n".join(map(str, copy(names or list(shipped()), options.copy))))
    elif names:
        print_result("\n".join(shipped()[name].read_text().rstrip("\n") for name in names))
    else:
        width = max(map(len, shipped()))
        print_result("\n".join(f"{name:{width}}  {about(name)}" for name in shipped()))


if __name__ == "__main__":
    sys.exit(main())
