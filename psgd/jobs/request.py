"""The command line's options, and the request that the first process makes of them and sends to the others."""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, final

from psgd.config.names import unknown_option
from psgd.config.settings import Settings
from psgd.core.command import expanded, program_name
from psgd.core.errors import UsageError
from psgd.core.launcher import rank


class DirectoryOptions(NamedTuple):
    """What the user wants of the run directory."""

    output: Path | None  # the run directory, if the user named it
    resume: bool
    overwrite: bool
    accept_changes: bool  # of settings and data, when a run is resumed

    def check(self) -> None:
        """UsageError if they contradict each other."""
        if self.resume and self.overwrite:
            raise UsageError("--resume continues a run and --overwrite replaces it: choose one")
        if self.overwrite and not self.output:
            raise UsageError("--overwrite replaces the run in the directory of --output DIR: name it")
        if self.accept_changes and not self.resume:
            raise UsageError("--accept-changes is for --resume, which otherwise refuses other settings and data")


class RunRequest(NamedTuple):
    """All that a process needs to know to run a job, apart from the data."""

    settings: Settings  # complete: neither group nor workers is auto
    config: str  # the text of config.yaml, whose group may be auto because the run may be resumed elsewhere
    notes: list[str]  # for the user: how settings were changed and filled in
    options: DirectoryOptions
    quiet: bool


@final
class _Parser(argparse.ArgumentParser):
    """Raises its errors, and leaves the help to the first process of a launcher: what all find out, one prints."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help describes all options")

    def print_help(self, file: Any = None) -> None:
        if not rank():
            super().print_help(file)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = _Parser(
        prog=program_name("train"),
        description="Train a network with parallel SGD. Without CONFIG: the embedded handwritten digits, 4 workers.",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file, or a name that `psgd configs` lists")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings that override the file's")
    parser.add_argument("--output", metavar="DIR", help="the run directory, exactly; it must be new or empty")
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the directory of --output")
    parser.add_argument("--accept-changes", action="store_true", help="with --resume: with other settings or data")
    parser.add_argument("--dry-run", action="store_true", help="say whether to parallelise; train nothing")
    parser.add_argument(
        "--no-probe", action="store_true", help="with --dry-run: print the resolved config instead, at once"
    )
    parser.add_argument("--quiet", action="store_true", help="print only errors and the summary")
    return parser


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line. UsageError if options contradict each other."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options, others = parser().parse_known_intermixed_args(arguments)
    if others:
        known = [f"--{name.replace('_', '-')}" for name in vars(options).keys() - {"config", "overrides"}]
        unknown = (other for other in others if other.startswith("-"))
        raise UsageError("\n".join(unknown_option(other, arguments, known) for other in unknown))
    if options.output is not None:
        options.output = expanded("--output", options.output)
    output = Path(options.output) if options.output else None
    options.directory = DirectoryOptions(output, options.resume, options.overwrite, options.accept_changes)
    options.directory.check()
    if options.no_probe and not options.dry_run:
        raise UsageError("--no-probe is for --dry-run, which probes; without it nothing is probed")
    return options
