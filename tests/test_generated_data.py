"""Data that need no file: the embedded digits and synthetic ones."""

import hashlib

import numpy as np
import pytest

from psgd.config.resolve import resolve
from psgd.config.settings import Digits, Synthetic
from psgd.core.errors import UsageError
from psgd.data.dataset import Dataset
from psgd.data.sources.digits import load_digits
from psgd.data.sources.load import load_source
from psgd.data.sources.synthetic import synthetic


def made(examples: int, features: int, classes: int, seed: int) -> tuple[Dataset, Dataset]:
    return synthetic(Synthetic(examples=examples, features=features, classes=classes, seed=seed))


def test_the_embedded_digits():
    train, test = load_digits()
    assert (train.inputs.shape, test.inputs.shape) == ((1437, 64), (360, 64))
    assert (train.inputs.dtype, train.inputs.max(), train.classes, train.scale) == (np.uint8, 16, 10, 1 / 16)
    assert not {row.tobytes() for row in train.inputs} & {row.tobytes() for row in test.inputs}
    assert [0, 0, 5, 13, 9, 1, 0, 0] in np.concatenate([train.inputs, test.inputs])[:, :8].tolist()
    labels = np.bincount(np.concatenate([train.targets, test.targets]))
    assert labels.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_synthetic_is_a_function_of_its_arguments():
    first, again, other = (made(1100, 5, 3, seed) for seed in (7, 7, 8))
    for one, two in zip(first, again, strict=True):
        assert one.inputs.tobytes() == two.inputs.tobytes()
        assert one.targets.tobytes() == two.targets.tobytes()
    assert first[0].inputs.tobytes() != other[0].inputs.tobytes()
    assert (len(first[0]), len(first[1]), first[0].inputs.dtype) == (1100, 183, np.float32)
    rows = np.concatenate([part.inputs for part in first])
    assert len(np.unique(rows, axis=0)) == 1283  # no block of rows is drawn twice
    assert len(made(2, 1, 0, 0)[1]) == 1


def test_synthetic_targets_do_not_depend_on_the_machine():
    """Fixed values: they hold for any BLAS, as all sums are exact."""
    train, _ = made(2000, 40, 10, 0)
    assert hashlib.sha256(train.targets.astype("<i8").tobytes()).hexdigest()[:16] == "01cf793f88e8829e"


def test_synthetic_blocks_do_not_depend_on_what_follows():
    short, long = made(600, 4, 3, 0)[0], made(1500, 4, 3, 0)[0]
    assert np.array_equal(short.inputs, long.inputs[:600])
    assert np.array_equal(short.targets, long.targets[:600])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_synthetic_classes_are_balanced_and_learnable(classes):
    """A linear model is right far above chance on examples that it has not seen."""
    train, test = made(3000, 20, classes, 1)
    shares = np.bincount(train.targets, minlength=classes) / len(train)
    assert shares.min() > 0.4 / classes
    one_hot = np.eye(classes)[train.targets]
    weights = np.linalg.lstsq(train.inputs, one_hot, rcond=None)[0]
    assert np.mean((test.inputs @ weights).argmax(axis=1) == test.targets) > max(0.6, 1.5 / classes)


def test_synthetic_regression_is_learnable_not_trivial():
    train, test = made(3000, 20, 0, 1)
    assert (train.targets.shape, train.outputs) == ((3000, 1), 1)
    assert 0.5 < train.targets.std() < 2
    weights = np.linalg.lstsq(train.inputs, train.targets, rcond=None)[0]
    unexplained = np.mean((test.inputs @ weights - test.targets) ** 2) / test.targets.var()
    assert 0.002 < unexplained < 0.3


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"features": 0}, {"classes": 1}, {"classes": -1}, {"seed": -1}])
def test_synthetic_refuses_sizes_that_make_no_problem(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"data.{name} is {value};"):
        resolve(None, ["data.source=synthetic", f"data.{name}={value}"])


def test_load_digits_with_and_without_validation():
    whole = load_source(Digits())
    assert whole.validation is None
    assert whole.note == "digits: embedded; 1437 train, 360 test examples"
    data = load_source(Digits(validation=0.1))
    assert (len(data.train), len(data.validation), len(data.test)) == (1293, 144, 360)
    assert "144 validation" in data.note


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.source=digit", 'data.source is "digit"; it must be one of digits, mnist'),
        ("data.validation=1.0", "data.validation is 1.0"),
        ("data={source: synthetic, examples: null}", "data.examples is null; it must be a whole number"),
    ],
)
def test_invalid_settings_are_refused(override, message):
    with pytest.raises(UsageError, match=message):
        resolve(None, [override])


def test_generated_data_are_split_by_their_own_seed():
    def held(seed: int, training_seed: int) -> list[float]:
        data = load_source(Synthetic(examples=50, features=3, seed=seed, validation=0.2), training_seed)
        return data.validation.inputs[:, 0].tolist()

    assert held(1, 2) == held(1, 3) != held(2, 2)
    assert (
        load_source(Digits(validation=0.1), 1).validation.inputs.tobytes()
        != load_source(Digits(validation=0.1), 2).validation.inputs.tobytes()
    )
