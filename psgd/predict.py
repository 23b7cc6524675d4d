"""The command `python -m psgd.predict MODEL DATA [--output CSV]`: predictions of a trained model for new data."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from psgd.core.command import path_of, program_name, run_command  # noqa: E402
from psgd.core.files import refuse_existing  # noqa: E402
from psgd.core.log import LOG  # noqa: E402
from psgd.jobs.predictions import describe_scores, read_new_data, write_csv  # noqa: E402
from psgd.learners.model_file import load_model  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name("predict"),
        description="Predictions of a trained model as CSV, a row for each example, on stdout unless --output is "
        "given. If the data contain the right answers, the accuracy or error is printed to stderr.",
    )
    parser.add_argument("model", metavar="MODEL", help="a run's model.safetensors, or the run's directory")
    parser.add_argument("data", metavar="DATA", help="csv, npz, npy, a directory of npy files, IDX, or libsvm text")
    parser.add_argument(
        "--output", metavar="CSV", type=path_of("--output"), help="the file to write, which must not exist"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    return run_command(lambda: _predict(parser().parse_args(arguments)))


def _predict(options: argparse.Namespace) -> None:
    if options.output:
        refuse_existing(options.output)
    model = load_model(options.model)
    question = read_new_data(model, Path(options.data))
    for note in question.prepared.missing + question.prepared.unseen:
        LOG.info("psgd: %s", note)
    outputs = model.outputs_of(question.prepared)
    write_csv(model, outputs, options.output)
    if question.truth is not None:
        LOG.info("psgd: %s", describe_scores(model, outputs, question.truth))


if __name__ == "__main__":
    sys.exit(main())
