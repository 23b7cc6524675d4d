"""psgd.fit trains a user's own numpy function with the same bits on every group, and reports its errors at once."""

import json
import re

import numpy as np
import pytest
import user_function as own
from processes import installed_mpi, mpi, python, run
from still_fit import DATA, still

import psgd
from psgd.core.errors import Diverged
from psgd.jobs.files.summary import parameters_sha256
from psgd.learners.parameter_tree import ParameterTree

__all__ = ["mpi"]


@pytest.fixture(scope="module")
def serial() -> dict[str, psgd.Fitted]:
    return own.train("serial")


def test_threads_give_the_bits_of_serial(serial):
    for name, fitted in own.train("threads").items():
        assert fitted.summary["group"] == "threads"
        assert fitted.summary["parameters_sha256"] == serial[name].summary["parameters_sha256"]
        for found, expected in zip(fitted.parameters, serial[name].parameters, strict=True):
            assert (found == expected).all()


def test_mpi_gives_the_bits_of_serial_and_all_processes_the_same_result(mpi, serial):
    finished = run(mpi.command(2, "tests/user_function.py", "train"))
    assert finished.code == 0, finished
    summaries = json.loads(finished.stdout)
    *said, printed = finished.stderr.splitlines()
    assert json.loads(printed) == summaries
    assert [line.partition(" of computing")[0].rpartition(" ")[2] for line in said] in ([], ["ms"])  # a doubt, once
    for name, summary in summaries.items():
        expected = serial[name].summary
        assert (summary["group"], summary["processes"]) == ("mpi", 2)
        for key in ("parameters_sha256", "test_accuracy", "test_loss", "worker_steps", "last_weights"):
            assert summary[key] == expected[key], key


def test_the_result_is_a_line_at_a_prompt(serial):
    said = repr(serial["parameter-averaging"])
    assert re.fullmatch(r"<psgd\.Fitted: done after \d+ rounds, [\d.]+ epochs, [\d.e-]+ s; \.parameters, .*>", said)


def test_the_result_has_the_given_structure_and_its_own_memory(serial):
    start, (X, y) = own.problem()
    fitted = serial["parameter-averaging"]
    assert isinstance(fitted.parameters, list)
    assert [a.shape for a in fitted.parameters] == [a.shape for a in start]
    assert all(a.flags.owndata and a.flags.writeable and a.dtype == np.float64 for a in fitted.parameters)
    assert (start[1] == 0).all()
    flat = np.concatenate([a.ravel() for a in fitted.parameters])
    assert parameters_sha256(flat) == fitted.summary["parameters_sha256"]
    assert fitted.summary["test_accuracy"] == own.score(fitted.parameters, X, y) > 0.9
    assert fitted.summary["test_loss"] == pytest.approx(1 - fitted.summary["test_accuracy"])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_gradient_averaging_of_a_quadratic_in_closed_form(workers):
    """f = (a/2) |w - c|^2, plain SGD: w_t = c + (1 - rate a)^t (w_0 - c) for any number of workers."""
    a, c, start = np.array([1.0, 3.0]), np.array([2.0, -1.0]), np.array([5.0, 5.0])
    fitted = psgd.fit(
        lambda w, X, y: a * (w - c), start, DATA, strategy="gradient-averaging", workers=workers, epochs=workers * 2,
        batch_size_per_worker=2, learning_rate=0.1,
    )  # fmt: skip
    steps = fitted.summary["worker_steps"][0]
    assert steps == 6
    np.testing.assert_allclose(fitted.parameters, c + (1 - 0.1 * a) ** steps * (start - c), rtol=1e-14)


def test_parameter_averaging_of_a_quadratic_of_the_data_in_closed_form():
    """f = (w - x)^2 / 2 with batches of one example: with rate 1, each worker ends at its last x, so averaging n
    workers once, over n examples, gives the mean of the examples."""
    X = np.array([[1.0], [2.0], [4.0], [8.0]])
    fitted = psgd.fit(
        lambda w, X, y: w - X[0], np.zeros(1), (X, X), strategy="parameter-averaging", period="end", workers=4,
        epochs=1, batch_size_per_worker=1, learning_rate=1.0,
    )  # fmt: skip
    assert fitted.parameters.tolist() == [3.75]


@pytest.mark.parametrize(
    "parameters",
    [
        np.ones((2, 3), np.float32),
        [np.ones(2), np.ones((1, 2))],
        ([np.ones(2)], (np.ones(3), 1.5)),
        {"b": 0.0, "W": np.asfortranarray(np.arange(6.0).reshape(2, 3))},
        [{"W": np.ones((2, 1)), "b": np.ones(1)}, {"W": np.ones(1)}],
    ],
)
def test_parameters_keep_their_structure(parameters):
    structure = ParameterTree(parameters)
    back = structure.copies(structure.flatten(parameters))
    assert repr(structure.copies(structure.flatten(back))) == repr(back)
    again = np.empty(structure.size, structure.dtype)
    assert structure.write(back, again)
    assert not structure.write((back, 0.5), np.empty_like(again))
    assert (again == structure.flatten(parameters)).all()


def test_a_dict_of_gradients_may_list_its_keys_in_another_order():
    structure = ParameterTree({"W": np.zeros(2), "b": np.zeros(1)})
    out = np.empty(3)
    structure.write({"b": np.array([3.0]), "W": np.array([1.0, 2.0])}, out)
    assert out.tolist() == [1, 2, 3]


def test_the_function_gets_rows_in_their_own_dtype_and_read_only_parameters():
    X, y = np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.array(list("abcdef"))
    seen = []

    def gradient(parameters, X, y):
        assert (X.dtype, X.shape, y.dtype) == (np.uint8, (3, 2, 2), np.dtype("<U1"))
        seen.extend(zip(X[:, 0, 0].tolist(), y.tolist(), strict=True))
        with pytest.raises(ValueError, match="read-only"):
            parameters[0] += 1
        return np.zeros(2)

    psgd.fit(
        gradient, np.zeros(2), (X, y), workers=1, strategy="gradient-averaging", batch_size_per_worker=3, check=False
    )
    assert sorted(seen) == list(zip(range(0, 24, 4), "abcdef", strict=True))


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_an_exception_keeps_its_type_and_names_worker_and_round(group):
    def gradient(parameters, X, y):
        if (y == 5).any():  # in one batch of one worker
            raise ZeroDivisionError("deliberately")
        return np.zeros(2)

    with pytest.raises(ZeroDivisionError, match="deliberately") as caught:
        psgd.fit(
            gradient, np.zeros(2), (DATA[0], np.arange(6)), workers=3, batch_size_per_worker=1, period=1, group=group,
            check=False,
        )  # fmt: skip
    (note,) = caught.value.__notes__
    assert note in [f"psgd.fit: in worker {w}, round {r}" for w in range(3) for r in range(2)]


def test_divergence_names_the_parameter():
    def gradient(parameters, X, y):
        return {"W": np.array([[0.0, np.nan]]), "b": np.zeros(1)}

    with pytest.raises(Diverged, match=r"worker 0, round 0: parameters\['W'\]\[0, 1\] is not finite"):
        psgd.fit(gradient, {"W": np.zeros((1, 2)), "b": np.zeros(1)}, DATA, batch_size_per_worker=3, check=False)


def test_errors_are_public():
    with pytest.raises(psgd.errors.PsgdError, match="epochs is 0"):
        psgd.fit(still, np.zeros(2), DATA, epochs=0)


def ends_together(mpi, what, message):
    finished = run(mpi.command(2, "tests/user_function.py", what))
    assert finished.code == 1, finished
    assert finished.stderr.count("Traceback") == 1, finished.stderr
    assert message in finished.stderr
    assert "went on" not in finished.stdout


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("raise", "ZeroDivisionError: deliberately\npsgd.fit: in worker 1, round 1"),
        ("score", "ZeroDivisionError: in score"),
    ],
    ids=["in gradient", "in score"],
)
def test_an_exception_on_one_process_ends_all_and_is_printed_once(mpi, what, message):
    """Within seconds, with exit code 1 and one traceback."""
    ends_together(mpi, what, message)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("shape", "gradient returned (gradient, loss), but the gradient must have the lists"),
        ("unseeded", "process 1 called psgd.fit with other initial parameters than process 0"),
        ("setting", "psgd.fit: period is -1"),
        ("sign", "gradient has the wrong sign"),
    ],
    ids=["wrong gradient", "unseeded", "wrong setting", "wrong sign"],
)
def test_invalid_arguments_end_all_processes_and_are_reported_once(what, message):
    mpich = installed_mpi("mpich")
    ends_together(mpich, what, message)


def test_progress_goes_to_stderr(capsys):
    parameters, dataset = own.problem()
    psgd.fit(own.gradient, parameters, dataset, test=dataset, score=own.score, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "90 train examples; 29 parameters; 4 workers on one process" in said.err
    assert "test accuracy 0." in said.err
    assert re.search(r"loss 0\.\d{4} at first, 0\.\d{4} at last", said.err)


def test_more_than_one_blas_thread_is_reported_recorded_and_limited():
    code = """
import numpy, psgd
from threadpoolctl import threadpool_info
counts = lambda: [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]
inside = []
def gradient(parameters, X, y):
    inside.extend(counts())
    return parameters
fitted = psgd.fit(gradient, numpy.ones(1), (numpy.ones((40, 1)), numpy.ones(40)))
assert set(inside) == {1} and max(counts()) == 2 == fitted.summary["blas_threads"]
"""
    finished = python("-c", code, OPENBLAS_NUM_THREADS="2")
    assert finished.code == 0, finished
    assert 'os.environ["OPENBLAS_NUM_THREADS"] = "1"' in finished.stderr


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_the_history_has_the_losses_and_the_scores(group):
    parameters, dataset = own.problem()
    fitted = psgd.fit(
        own.gradient, parameters, dataset, period=2, epochs=3, batch_size_per_worker=3, test=dataset, score=own.score,
        group=group,
    )  # fmt: skip
    losses = [row["loss"] for row in fitted.history if "loss" in row]
    tests = [row for row in fitted.history if "test_accuracy" in row]
    assert len(losses) > 5
    assert losses[-1] < losses[0]
    assert [row["epoch"] for row in fitted.history] == sorted(row["epoch"] for row in fitted.history)
    assert len(tests) >= 3
    assert tests[-1]["test_loss"] == fitted.summary["test_loss"]
    assert json.loads(json.dumps(fitted.history)) == fitted.history


def test_the_history_has_no_loss_if_the_function_returns_none():
    history = psgd.fit(still, np.zeros(2), DATA, batch_size_per_worker=3).history
    assert history
    assert not any("loss" in row for row in history)


def test_the_modes_give_workers_their_rows():
    """In a shard each, or drawn with replacement; each row's number is its only feature."""
    X, counts = np.arange(40.0)[:, np.newaxis], {}
    for mode in ("shuffle", "partition", "replacement"):
        seen: list[list[float]] = [[]]

        def gradient(parameters, X, y, seen=seen):
            seen[-1] += X[:, 0].tolist()
            return np.zeros(1)

        psgd.fit(
            gradient, np.zeros(1), (X, X), mode=mode, workers=2, epochs=3, batch_size_per_worker=5, check=False,
            strategy="parameter-averaging", period=4, callback=lambda progress, seen=seen: seen.append([]),
        )  # fmt: skip
        rounds = [part for part in seen if part]
        shards = [{*part[:20]} for part in rounds if len(part) == 40]
        counts[mode] = np.unique(np.concatenate(rounds), return_counts=True)[1].tolist()
        assert (mode == "partition") == (all(shard == shards[0] for shard in shards) and len(shards[0]) == 20), mode
    assert counts["shuffle"] == counts["partition"] == [3] * 40
    assert counts["replacement"] != [3] * 40


def test_a_mapping_without_a_name_is_of_the_default_optimizer_and_strategy():
    start, data = own.problem()

    def trained(**arguments):
        fitted = psgd.fit(own.gradient, start, data, learning_rate=0.1, batch_size_per_worker=6, **arguments)
        return fitted.summary["parameters_sha256"]

    assert trained(optimizer={"clip_norm": 1e9}) == trained()
    assert trained(optimizer={"momentum": 0.9}) == trained(optimizer={"name": "sgd", "momentum": 0.9}) != trained()
    assert trained(strategy={"period": 3}) == trained(strategy="weighted-averaging", period=3) != trained(period=4)
