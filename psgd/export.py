"""The command `python -m psgd.export RUN --to onnx|npz|sklearn [--output FILE]`: a trained model for other programs."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from psgd.core.command import path_of, program_name, run_command  # noqa: E402
from psgd.core.errors import UsageError  # noqa: E402
from psgd.core.files import print_result  # noqa: E402
from psgd.jobs.export.export import FORMATS, export  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("export"),
        usage=f"%(prog)s [-h] --to {{{','.join(FORMATS)}}} [--output FILE] RUN",
        description="Write a trained model for other programs: ONNX with the preparation of raw inputs, arrays of "
        "numpy with a description as JSON, or a pickled pipeline of scikit-learn. Prints the path of the file.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the directory of a run, or its model.safetensors")
    parser.add_argument("--to", type=_known, choices=[*FORMATS], help="the format, which must be given")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=path_of("--output"),
        help="the file to write, which must not exist; default: NAME-OF-RUN.onnx",
    )
    return parser


def _known(format: str) -> str:
    """UsageError if there is no such format, in place of argparse's own message."""
    if format not in FORMATS:
        raise UsageError(f"--to is {format!r}; it must be one of {', '.join(FORMATS)}")
    return format


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    return run_command(lambda: _export(parser().parse_args(arguments)))


def _export(options: argparse.Namespace) -> None:
    if options.to is None:
        raise UsageError(f"--to is missing; it names the format: --to {', --to '.join(FORMATS)}")
    print_result(str(export(options.run, options.to, options.output)))


if __name__ == "__main__":
    sys.exit(main())
