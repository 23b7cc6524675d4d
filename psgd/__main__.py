"""The command `psgd SUBCOMMAND ...`, also `python -m psgd`. A subcommand's module is imported when it is called."""

import sys
from importlib import import_module

from psgd.backends.blas import limit_before_numpy
from psgd.core.command import run_command
from psgd.core.errors import UsageError
from psgd.core.files import print_result
from psgd.core.launcher import rank
from psgd.core.subcommands import SUBCOMMANDS
from psgd.core.version import __version__

EXAMPLES = """\
  psgd train digits training.epochs=20                 train with four workers, with a setting changed
  mpirun -n 4 psgd train digits --output runs/digits   the same workers on four processes
  psgd compare tiny                                    compare two strategies"""


def call(arguments: list[str]) -> int:
    """Run a subcommand; returns the exit code after errors have been printed. Without one, the first process of a
    launcher alone prints the help, the version or an error. The others leave with 0, or Open MPI would kill the first
    before it has printed; a launcher ends with the code of the first."""
    name, *rest = arguments or ["--help"]
    if name in SUBCOMMANDS:
        limit_before_numpy()
        code: int = import_module(SUBCOMMANDS[name].module).main(rest)
        return code
    return 0 if rank() else run_command(lambda: _answer(name))


def _answer(name: str) -> None:
    """Print the help or the version. UsageError for anything else."""
    if name in ("-V", "--version"):
        print_result(f"psgd {__version__}")
    elif name in ("-h", "--help", "help"):
        print_result(usage())
    else:
        raise UsageError(_unknown(name))


def usage() -> str:
    """The help: a line for each subcommand, and examples."""
    lines = [f"  {name:12}{each.about}" for name, each in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: psgd COMMAND ...",
            "",
            "Parallel SGD whose strategies, groups and bits can be compared. COMMAND is one of",
            "",
            *lines,
            "",
            "psgd COMMAND --help describes it; psgd --version prints the version.",
            "",
            "examples:",
            EXAMPLES,
        ]
    )


def _unknown(name: str) -> str:
    """What is wrong with a word that is no subcommand, and what may be meant."""
    import difflib

    from psgd.config.shipped import COMPARISON, configs

    if "=" in name or name.endswith((".yaml", ".yml")) or name in configs(comparisons=False):
        return f"{name} is not a command of psgd; did you mean: psgd train {name}?"
    if COMPARISON + name in configs(comparisons=True):
        return f"{name} is not a command of psgd; did you mean: psgd compare {name}?"
    close = difflib.get_close_matches(name, [*SUBCOMMANDS, "--version", "--help"], 1, 0.5)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(SUBCOMMANDS)}"
    return f"{name} is not a command of psgd; {hint}"


def main() -> None:
    """Run the command and exit."""
    code = call(sys.argv[1:])
    from psgd.training.signals import leave

    leave(code)


if __name__ == "__main__":
    main()
