"""The command `python -m psgd.predict MODEL DATA [--output CSV]`: what a trained model says of new data."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import contextlib  # noqa: E402
import csv  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, NamedTuple  # noqa: E402

import numpy as np  # noqa: E402

from psgd.core.errors import INTERRUPTED, DataError, PsgdError, StorageError, UsageError  # noqa: E402
from psgd.data.sources.array_files import Named, find_part, read_arrays  # noqa: E402
from psgd.data.sources.csv_file import read_header, read_table  # noqa: E402
from psgd.data.sources.idx import read_idx  # noqa: E402
from psgd.data.sources.labels import places_of, values_of  # noqa: E402
from psgd.data.sources.table import collectors_of, labels_of  # noqa: E402
from psgd.learners.saved_model import Model, Prepared, load  # noqa: E402


class Question(NamedTuple):
    prepared: Prepared
    truth: np.ndarray | None  # (N,) places of classes, -1 where unknown; (N, O) values, nan where unknown


def main(arguments: list[str] | None = None) -> int:
    """The exit code; what went wrong has been said."""
    options = _parser().parse_args(arguments)
    try:
        model = load(options.model)
        question = _read(model, Path(options.data))
        for note in question.prepared.missing + question.prepared.unseen:
            _say(note)
        outputs = model.outputs_of(question.prepared)
        _write(model, outputs, options.output)
        if question.truth is not None:
            _say(_judge(model, outputs, question.truth))
    except PsgdError as error:
        _say(str(error))
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m psgd.predict",
        description="Predictions of a trained model as CSV, a row for each example, on stdout unless --output is "
        "given. If the data hold the right answers, how many were found is said on stderr.",
    )
    parser.add_argument("model", metavar="MODEL", help="a run's model.safetensors, or the run's directory")
    parser.add_argument("data", metavar="DATA", help="csv, npz, npy, a directory of npy files, or IDX images")
    parser.add_argument("--output", metavar="CSV", help="the file to write; it must not exist")
    return parser


def _say(text: str) -> None:
    print(f"psgd: {text}", file=sys.stderr, flush=True)


def _read(model: Model, path: Path) -> Question:
    table, looks_like = model.preparation.get("kind") == "table", path.name.lower().endswith((".csv", ".tsv", ".txt"))
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file")
    if table:
        return _read_table(model, path)
    if looks_like:
        raise DataError(f"{path}: this model was trained on arrays; give an npz or npy file, or IDX images")
    if os.path.isdir(path) or path.suffix.lower() in (".npz", ".npy"):
        return _read_arrays(model, path)
    if model.preparation.get("kind") == "libsvm":
        raise DataError(f"{path}: libsvm text cannot be predicted from; give an npz or npy file with all features")
    return Question(_fitting(model, Named(str(path), read_idx(path))), None)


def _read_table(model: Model, path: Path) -> Question:
    separator, target = model.preparation["separator"], model.preparation["target"]["name"]
    answered = target in read_header(path, separator)
    table = read_table(path, separator, collectors_of({**model.preparation, "classes": model.classes}, answered))
    truth = None
    if answered:
        column = table.columns[target]
        truth = labels_of(table, column, model.classes) if model.classes else column.values[:, np.newaxis]
    return Question(model.prepare_columns(table.columns), truth)


def _read_arrays(model: Model, path: Path) -> Question:
    """x, or else x_test; and the right answers, if they are there."""
    arrays = read_arrays(path)
    found = find_part(path, arrays, "") or find_part(path, arrays, "test")
    if found is None:
        raise DataError(f"{path}: no array named x or x_test to predict from; it holds {', '.join(arrays)}")
    X, y = found
    truth = None if y is None else places_of(y, model.classes) if model.classes else values_of(y)
    return Question(_fitting(model, X), truth)


def _fitting(model: Model, X: Named) -> Prepared:
    try:
        return model.prepare(X.array)
    except DataError as error:
        raise DataError(f"{X.name}: {error}") from None


def _write(model: Model, outputs: np.ndarray, output: str | None) -> None:
    decided = model.decide(outputs)
    if decided.ndim == 1:
        header, columns = ["prediction"], [decided]
    else:
        header, columns = [f"prediction_{n}" for n in range(1, decided.shape[1] + 1)], list(decided.T)
    if model.probable:
        header += [f"probability_{name}" for name in model.classes]
        columns += list(model.probabilities(outputs).T)
    try:
        with _opened(output) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for row in zip(*columns, strict=True):
                writer.writerow([f"{value:.9g}" if isinstance(value, np.floating) else value for value in row])
    except OSError as error:
        if output is None:  # whoever read it has left: nothing more can be written there, not even at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StorageError(f"cannot write {output or 'to stdout'}: {error.strerror}") from None


@contextlib.contextmanager
def _opened(output: str | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        file = open(output, "x", encoding="utf-8", newline="")
    except FileExistsError:
        raise UsageError(f"--output {output}: there is such a file, which is kept; name another") from None
    with file:
        yield file


def _judge(model: Model, outputs: np.ndarray, truth: np.ndarray) -> str:
    if model.classes:
        known = truth >= 0
        right = int(np.count_nonzero(model.places(outputs)[known] == truth[known]))
        count = int(np.count_nonzero(known))
        text = f"accuracy {right / count:.4f} ({right} of {count})" if count else "no right answers are given"
    else:
        known = np.isfinite(truth).all(axis=1)
        if truth.shape != outputs.shape:
            raise DataError(f"the targets have shape {truth.shape}, the predictions {outputs.shape}")
        count = int(np.count_nonzero(known))
        error = float(np.sqrt(np.mean(np.square(outputs[known] - truth[known])))) if count else np.nan
        text = f"root mean squared error {error:.6g} ({count} rows)" if count else "no right answers are given"
    missing = len(truth) - int(np.count_nonzero(known))
    return text + (f"; {missing} rows without an answer" if missing else "")


if __name__ == "__main__":
    sys.exit(main())
