"""What a model of sparse rows and a model of a table predict from: libsvm text, scipy's rows, DataFrames."""

import gzip

import numpy as np
import pytest
import scipy.sparse

import psgd
from psgd.config.resolve import resolve
from psgd.core.errors import DataError, UsageError
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job
from psgd.jobs.predictions import describe_scores, read_new_data
from psgd.learners.model import Model
from psgd.learners.model_file import write_model


def saved(directory, *overrides: str) -> Model:
    """A model with random parameters, as a training on these settings would save it."""
    settings = resolve(None, ["compile=never", "workers=1", "training.batch_size_per_worker=1", *overrides]).settings
    job = build_job(settings, load_data(settings))
    parameters = np.random.default_rng(0).standard_normal(job.learner.size).astype(np.float32)
    write_model(directory / "model.safetensors", settings.model, job.learner, parameters, job.data)
    return psgd.load(directory)


DRAW = np.random.default_rng(1)
DENSE = np.where(DRAW.random((1100, 20)) < 0.3, DRAW.integers(1, 5, (1100, 20)), 0).astype(float)
DENSE[0, -1] = 1
LABELS = DRAW.choice([-1, 3], 1100)


def text_of(labels, first: int = 1, more: str = "") -> bytes:
    rows = (" ".join(f"{place + first}:{row[place]:g}" for place in np.flatnonzero(row)) for row in DENSE)
    return "".join(f"{label} {row}{more}\n" for label, row in zip(labels, rows, strict=True)).encode()


@pytest.fixture(params=[(1, False), (0, True)], ids=["plain", "zero-based-and-unit-length"])
def sparse(request, tmp_path) -> tuple[Model, int]:
    first, unit = request.param
    (tmp_path / "t.svm").write_bytes(text_of(LABELS, first))
    more = [f"data.zero_based={str(not first).lower()}", f"data.unit_length={str(unit).lower()}"]
    where = ["data.source=libsvm", f"data.path={tmp_path}/t.svm", "model.hidden=[]", "model.loss=hinge"]
    return saved(tmp_path, *where, *more), first


def test_libsvm_text_scipy_rows_and_dense_rows_agree(sparse, tmp_path):
    model, first = sparse
    expected = model.outputs(DENSE)
    np.testing.assert_allclose(model.outputs(scipy.sparse.csr_matrix(DENSE)), expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "new.svm.gz").write_bytes(gzip.compress(text_of(LABELS, first)))
    prepared, truth = read_new_data(model, tmp_path / "new.svm.gz")
    found = model.outputs_of(prepared)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert [model.classes[place] for place in truth] == LABELS.tolist()
    right = np.count_nonzero(model.predict(DENSE) == LABELS)
    assert describe_scores(model, found, truth) == f"accuracy {right / 1100:.4f} ({right} of 1100)"


def test_entries_of_one_place_are_added(sparse):
    model, _ = sparse
    twice = scipy.sparse.csr_matrix((np.array([1.0, 2.0, 1.0]), np.array([4, 4, 5]), np.array([0, 3])), (1, 20))
    assert model.outputs(twice) == pytest.approx(model.outputs(3 * np.eye(20)[4:5] + np.eye(20)[5:6]), rel=1e-5)
    assert twice.nnz == 3, "the caller's rows are left as they are"


def test_a_label_0_is_an_unknown_answer(sparse, tmp_path):
    model, first = sparse
    (tmp_path / "new.svm").write_bytes(text_of(np.where(LABELS == 3, 0, LABELS), first))
    assert (read_new_data(model, tmp_path / "new.svm").truth == np.where(LABELS == 3, -1, 0)).all()
    (tmp_path / "new.svm").write_bytes(text_of(np.where(np.arange(1100) == 7, 2, LABELS), first))
    with pytest.raises(DataError, match=r"new\.svm: example 8 has the label 2, which is none of -1, 3; write 0 where"):
        read_new_data(model, tmp_path / "new.svm")


def test_features_that_the_model_lacks_are_ignored_and_counted(sparse, tmp_path):
    model, first = sparse
    (tmp_path / "new.svm").write_bytes(text_of(LABELS, first, " 90:1 91:1"))
    prepared = read_new_data(model, tmp_path / "new.svm").prepared
    assert prepared.unseen == ["2200 entries are ignored: their features are not among the model's"]
    assert prepared.X.features == 20


def test_sparse_rows_that_do_not_fit_are_errors(sparse, tmp_path):
    model, _ = sparse
    with pytest.raises(DataError, match=r"X has shape \(1100, 19\); this model needs \(examples, 20\)"):
        model.predict(scipy.sparse.csr_matrix(DENSE[:, :19]))
    with pytest.raises(DataError, match="X, stored values: row 0 is nan"):
        model.predict(scipy.sparse.csr_matrix([[np.nan] + [0.0] * 19]))
    dense = saved(tmp_path, "model.hidden=[]")
    with pytest.raises(UsageError, match=r"trained on dense arrays; give X\.toarray\(\)"):
        dense.predict(scipy.sparse.csr_matrix(np.zeros((1, 64))))


class Frame(dict):
    """Named columns, with the interface that DataFrames of pandas and polars share."""

    @property
    def columns(self) -> list:
        return list(self)


@pytest.fixture
def table(tmp_path) -> Model:
    (tmp_path / "t.csv").write_text("age,town,7,fate\n1,A,5,lost\n2,B,6,saved\n3,A,7,lost\n")
    return saved(tmp_path, "data.source=csv", f"data.path={tmp_path}/t.csv", "data.target=fate", "model.hidden=[]")


def test_a_frame_is_read_by_the_names_of_its_columns(table):
    expected = table.outputs([{"age": 1, "town": "A", "7": 5}, {"age": None, "town": "B", "7": 6}])
    frame = Frame({7: np.array([5, 6]), "town": ["A", "B"], "age": np.array([1.0, np.nan])})
    assert table.outputs(frame).tobytes() == expected.tobytes()
    assert table.outputs(Frame(frame, fate=["lost", "lost"])).tobytes() == expected.tobytes()
    with pytest.warns(UserWarning, match="X has columns that this model does not use: 'more', 'than'"):
        assert table.outputs(Frame(frame, more=[1, 2], than=[3, 4])).tobytes() == expected.tobytes()


def test_the_columns_of_a_frame_are_found_without_going_through_all_of_them(tmp_path):
    """That took half a minute for 20,000."""
    asked = []

    class Gene:
        def __init__(self, number: int) -> None:
            self.name = f"gene {number}"

        def __str__(self) -> str:
            asked.append(self.name)
            return self.name

    columns = {Gene(number): [number] for number in range(300)}
    rows = [",".join([*map(str, columns), "y"]), *(",".join(["1"] * 300 + [y]) for y in "01")]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    model = saved(tmp_path, "data.source=csv", f"data.path={tmp_path}/t.csv", "data.target=y", "model.hidden=[]")
    asked.clear()
    model.predict(Frame(columns))
    assert len(asked) < 10 * len(columns)


class Twice(Frame):
    @property
    def columns(self) -> list:
        return [*self, "age"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (Frame(age=[1], more=[2]), DataError, "X has no column 'town', '7'; this model needs 'age', 'town', '7'"),
        (Frame({"age": ["x"], "town": ["A"], 7: [1]}), DataError, "row 0: age is 'x', which is not a number"),
        (Frame({"age": [], "town": [], 7: []}), DataError, "no rows to predict"),
        (Twice({"age": [1], "town": ["A"], 7: [1]}), DataError, "X has two columns named 'age'; keep one"),
        (
            [{"age": a, "town": "A", 7: 1, "7": 1} for a in (1, 3e38)],
            DataError,
            "row 1, counted from 0: its inputs are so large that the outputs are not finite",
        ),
        (["age"], UsageError, "row 0 is str; a row is a dict"),
        ([], DataError, "no rows to predict"),
        (
            scipy.sparse.csr_matrix(np.eye(3)),
            UsageError,
            "give a DataFrame, or rows as dicts with columns age, town, 7",
        ),
    ],
)
def test_frames_and_rows_that_do_not_fit_are_errors(table, given, error, words):
    with pytest.raises(error, match=words):
        table.predict(given)


def test_a_frame_of_numbers_is_an_array_for_a_model_of_arrays(tmp_path):
    model = saved(tmp_path, "model.hidden=[]")

    class Numbers(Frame):
        def __array__(self, *_, **__) -> np.ndarray:
            return np.stack(list(self.values()), axis=1)

    assert model.outputs(Numbers({n: np.arange(3.0) for n in range(64)})).shape == (3, 10)
    with pytest.raises(DataError, match="X is no array: its rows differ in length"):
        model.predict([[0.0] * 64, [0.0] * 63])
    masked = np.ma.masked_equal(np.eye(3, 64), 1.0)
    with pytest.raises(DataError, match=r"X has 3 masked values, and psgd knows no masks; give X\.filled\(value\)"):
        model.predict(masked)
    assert model.predict(masked.filled(0.0)).tolist() == model.predict(np.zeros((3, 64))).tolist()


def test_a_table_with_decimal_commas_is_predicted_from_files_like_it_and_from_numbers(tmp_path):
    text = "a;city;y\n1,5;Rome;2,5\n-0,25;Oslo;3\n4;Rome;-1,125\n"
    (tmp_path / "t.csv").write_text(text)
    form = ["data.separator=semicolon", "data.decimal=comma", "data.task=regression", "model.loss=squared-error"]
    model = saved(tmp_path, "data.source=csv", f"data.path={tmp_path}/t.csv", "data.target=y", *form)
    prepared, truth = read_new_data(model, tmp_path / "t.csv")
    rows = [{"a": 1.5, "city": "Rome"}, {"a": -0.25, "city": "Oslo"}, {"a": 4, "city": "Rome"}]
    np.testing.assert_array_equal(model.outputs_of(prepared), model.outputs(rows))
    np.testing.assert_array_equal(np.ravel(truth), [2.5, 3, -1.125])
