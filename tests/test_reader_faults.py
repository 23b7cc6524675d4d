"""Every reader meets every fault in the same way: an error that names the file and the fault, whether the file is for
training, for testing or for prediction."""

import bz2
import gzip
import lzma
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes
from unprivileged import unprivileged

import psgd
from psgd.config.resolve import resolve
from psgd.core.errors import DataError
from psgd.data.dataset import Data
from psgd.data.fingerprint import fingerprint
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job
from psgd.jobs.predictions import read_new_data
from psgd.learners.model_file import write_model

__all__ = ["unprivileged"]  # a fixture

READERS = ("csv", "libsvm", "npz", "npy", "idx")
PARTS = ("train", "test", "predict")
TEXT = {"csv": "{y},{x[0]},{x[1]}\n", "libsvm": "{y} 1:{x[0]} 2:{x[1]}\n"}
ROWS = [(0, (1, 2)), (1, (3, 4)), (0, (5, 6)), (1, (7, 8))]
PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def write(directory: Path, reader: str, part: str, rows: list = ROWS) -> Path:
    """Write a file of each kind that the reader reads for `part`; returns the one with the inputs."""
    directory.mkdir(exist_ok=True)
    x, y = np.array([x for _, x in rows], np.float64), np.array([y for y, _ in rows])
    if reader in TEXT:
        path = directory / f"{part}.{reader}"
        head = "y,a,b\n" if reader == "csv" else ""
        path.write_text(head + "".join(TEXT[reader].format(y=y, x=x) for y, x in rows))
    elif reader == "npz":
        path = directory / "d.npz"
        old = dict(np.load(path)) if path.exists() else {}
        np.savez(path, **old, **{f"x_{part}": x, f"y_{part}": y})
    elif reader == "npy":
        path = directory / f"x_{part}.npy"
        np.save(path, x)
        np.save(directory / f"y_{part}.npy", y)
    else:
        name = "train" if part == "train" else "t10k"
        path = directory / f"{name}-images-idx3-ubyte"
        path.write_bytes(idx_bytes(x[:, :, np.newaxis]))
        (directory / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(y))
    return path


def given(directory: Path, reader: str) -> list[str]:
    names = {"csv": "train.csv", "libsvm": "train.libsvm", "npz": "d.npz"}
    path = directory / names.get(reader, "")
    more = {"csv": ["data.target=y", f"data.test_path={directory}/test.csv"],
            "libsvm": ["model.hidden=[]", "model.loss=hinge", f"data.test_path={directory}/test.libsvm"]}  # fmt: skip
    return [f"data.source={'npz' if reader == 'npy' else reader}", f"data.path={path}", *more.get(reader, [])]


def load(directory: Path, reader: str) -> Data:
    return load_data(resolve(None, given(directory, reader)).settings)


class Case:
    """Files without fault, of which one, `path`, is to be damaged, and a model to predict from it."""

    def __init__(self, directory: Path, reader: str, part: str) -> None:
        self.reader, self.part, self.directory = reader, part, directory / "data"
        paths = {each: write(self.directory, reader, each) for each in ("train", "test")}
        settings = resolve(None, [*given(self.directory, reader), "compile=never", "workers=1",
                                  "training.batch_size_per_worker=1"]).settings  # fmt: skip
        job = build_job(settings, load_data(settings))
        parameters = np.zeros(job.learner.size, np.float32)
        write_model(directory / "model.safetensors", settings.model, job.learner, parameters, job.data)
        self._model = psgd.load(directory)
        self.path = paths["test" if part == "predict" else part]

    def read(self) -> object:
        if self.part != "predict":
            return load(self.directory, self.reader)
        return read_new_data(self._model, self.path)

    def refused(self, *words: str) -> None:
        with pytest.raises(DataError) as caught:
            self.read()
        said = str(caught.value)
        assert any(word in said for word in words), said
        assert str(self.path) in said or self.directory.name in said
        assert "\n" not in said


BOTH = [(reader, part) for reader in READERS for part in PARTS]


@pytest.fixture(params=BOTH, ids="-".join)
def case(request, tmp_path) -> Case:
    return Case(tmp_path, *request.param)


def of(chosen: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """These cases alone."""
    return pytest.mark.parametrize("case", chosen, indirect=True, ids="-".join)


@pytest.mark.parametrize("reader", READERS)
def test_what_a_reader_returns_has_a_fingerprint_of_its_content(tmp_path, reader):
    """Every checkpoint has it: the same for files written again, another for each changed number."""
    for number, rows in enumerate([ROWS, ROWS, [*ROWS[:3], (1, (7, 9))], [*ROWS[:3], (0, (7, 8))]]):
        for part in ("train", "test"):
            write(tmp_path / str(number), reader, part, rows)
    found = [fingerprint(load(tmp_path / str(number), reader)) for number in range(4)]
    assert found[0] == found[1]
    for part in ("training", "test"):
        assert len({each[part] for each in found}) == 3


@of([(reader, part) for reader, part in BOTH if reader != "npy" or part == "predict"])
def test_an_absent_file(case):
    """A directory of npy files without x_test.npy has no test data."""
    case.path.unlink()
    case.refused(
        "nothing at",
        "No such file",
        "there is no such file",
        "is there; set data.path",
        "expected arrays x_train and y_train",
    )


@pytest.mark.parametrize("mode", ["file", "directory"])
def test_a_file_that_may_not_be_read(case, mode, request):
    """Never "no such file"."""
    (case.directory if mode == "directory" else case.path).chmod(0)
    request.getfixturevalue("unprivileged")
    case.refused("Permission denied")


def test_an_empty_file(case):
    case.path.write_bytes(b"")
    case.refused("empty", "no examples", "(0 bytes)", "truncated", "it begins with nothing")


def test_a_truncated_file(case):
    case.path.write_bytes(case.path.read_bytes()[:-3])
    case.refused("truncated", ":5: 2 fields, but the header has 3", ":4: '2:' is not INDEX:VALUE")


@pytest.mark.parametrize("packed", PACK)
def test_compressed_files(case, packed):
    """Read where their names do not say what they are; npz files, which are compressed, are refused by name."""
    content = case.path.read_bytes()
    packed_path = case.path.with_name(f"{case.path.name}.{packed}") if case.reader in ("npy", "idx") else case.path
    case.path.unlink()
    case.path = packed_path
    case.path.write_bytes(PACK[packed](content))
    if case.reader == "npz":
        case.refused("must not be compressed by")
        return
    case.read()
    case.path.write_bytes(PACK[packed](content)[:-9])
    case.refused("data are truncated or corrupt")


def test_a_zip_archive(case):
    content = case.path.read_bytes()
    with zipfile.ZipFile(case.path, "w") as archive:
        archive.writestr("content", content)
    case.refused("a zip archive; unpack it first", "not an npy file", "expected x_train, y_train and so on; it holds")


@of([(reader, part) for reader, part in BOTH if reader not in ("idx", "csv")])
def test_inputs_that_are_not_a_number(case):
    """IDX files of images hold bytes; nan is a missing value in a table."""
    check_not_finite(case, "nan")


@of([(reader, part) for reader, part in BOTH if reader != "idx"])
@pytest.mark.parametrize("value", ["inf", "-inf", "1e999"])
def test_inputs_that_are_infinite(case, value):
    check_not_finite(case, value)


def check_not_finite(case: Case, value: str) -> None:
    rows = [*ROWS[:3], (1, (7, float(value)))]
    if case.reader in TEXT:
        case.path.write_text(case.path.read_text().replace("7,8", f"7,{value}").replace("2:8", f"2:{value}"))
    elif case.reader == "npz":
        shutil.rmtree(case.directory)
        for part in ("train", "test"):
            write(case.directory, "npz", part, rows if part == case.part or case.part == "predict" else ROWS)
    else:
        np.save(case.path, np.array([x for _, x in rows]))
    case.refused(
        f"row 3, element 1 is {float(value)}", f"b is '{value}'", f"'2:{value}' is not INDEX:VALUE", "too large"
    )


@pytest.mark.parametrize(
    ("reader", "more"), [*((reader, "") for reader in READERS), ("npy", "one-hot"), ("csv", "labels")]
)
def test_a_single_class(tmp_path, reader, more):
    one = [(1, x) for _, x in ROWS]
    for part in ("train", "test"):
        write(tmp_path / "d", reader, part, one)
    overrides = given(tmp_path / "d", reader)
    if more == "one-hot":
        np.save(tmp_path / "d" / "y_train.npy", np.eye(3)[[1, 1, 1, 1]])
    elif more == "labels":
        overrides += ["data.labels=[0, 1]"]
    with pytest.raises(DataError, match=r"labels? (are|is) 1|is '1' in all training rows"):
        load_data(resolve(None, overrides).settings)
