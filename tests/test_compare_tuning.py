"""Tuning: values, their extension, ties, and what cannot be compared."""

import math
from typing import Any

import pytest
from comparing import InstantRuns, Score

from psgd.compare.plan import ComparisonPlan
from psgd.compare.spaces import beyond, first_values
from psgd.compare.tuning import Tuned, tune, tuning_trials
from psgd.config.comparison import Space
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml

ARM = {"sync": {"strategy.name": "gradient-averaging"}}
RATE = "optimizer.learning_rate"


def space(**values: Any) -> Space:
    return Space.model_validate(values)


def peak(at: float) -> Score:
    """Accuracies that are best with the rate `at`."""
    return lambda settings: [0.9 - 0.1 * abs(math.log10(settings.optimizer.learning_rate / at))]


@pytest.fixture
def tuned(tmp_path):
    """A function that tunes the one arm; returns the outcome and the runs."""

    def run(score: Score, space: dict[str, Any], setting: str = RATE, **sections: Any) -> tuple[Tuned, InstantRuns]:
        path = tmp_path / "comparison.yaml"
        path.write_text(to_yaml({"arms": ARM, "tune": {setting: space, "seeds": [100, 101]}, **sections}))
        runs = InstantRuns(tmp_path, score)
        (outcome,) = tune(
            ComparisonPlan(read_comparison(str(path))), lambda trials: runs.train(trials, "tuning")
        ).values()
        return outcome, runs

    return run


def values(outcome: Tuned) -> list[float]:
    return [trial["value"] for trial in outcome.report["trials"]]


def test_the_first_values():
    assert first_values(space(log=[0.01, 1], points=5)) == [0.01, 0.0316228, 0.1, 0.316228, 1.0]
    assert first_values(space(linear=[1, 2], points=3)) == [1.0, 1.5, 2.0]
    assert first_values(space(values=[3, 1, 2])) == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "tried", "winner", "further"),
    [
        ({"log": [0.01, 1]}, [0.01, 0.1, 1.0], 1.0, [10.0, 100.0]),
        ({"log": [0.01, 1]}, [0.01, 0.1, 1.0], 0.01, [0.001, 0.0001]),
        ({"log": [0.01, 1]}, [0.01, 0.1, 1.0], 0.1, []),
        ({"log": [0.01, 1]}, [0.01, 0.1, 1.0], None, []),
        ({"linear": [1, 2]}, [1.0, 1.5, 2.0], 2.0, [2.5, 3.0]),
        ({"linear": [1, 2]}, [1.0, 1.5, 2.0], 1.0, [0.5]),  # and not 0
        ({"linear": [-1, 1]}, [-1.0, 0.0, 1.0], -1.0, [-2.0, -3.0]),
        ({"linear": [-2, -1]}, [-2.0, -1.5, -1.0], -1.0, [-0.5]),
        ({"values": [1, 2]}, [1, 2], 2, []),
    ],
)
def test_the_values_beyond_an_edge(given, tried, winner, further):
    assert beyond(space(**given), tried, winner) == further


def test_a_best_value_within_the_space_is_taken_without_extension(tuned):
    outcome, runs = tuned(peak(0.1), {"log": [0.01, 1], "points": 3})
    assert (outcome.value, outcome.why_not, outcome.report["extended"]) == (0.1, "", 0)
    assert values(outcome) == [0.01, 0.1, 1.0]
    assert [trial["scores"] for trial in outcome.report["trials"]] == [[0.8, 0.8], [0.9, 0.9], [0.8, 0.8]]
    assert len(runs.trained) == 6
    assert outcome.report["examples"] == 6 * 1000
    assert {trial.settings.training.seed for trial in runs.trained} == {100, 101}  # which are never scored


@pytest.mark.parametrize(
    ("best", "tried", "extended"),
    [
        (10.0, [0.01, 0.1, 1.0, 10.0, 100.0], 1),
        (0.001, [0.0001, 0.001, 0.01, 0.1, 1.0], 1),
        (1000.0, [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0], 2),
    ],
)
def test_a_best_value_beyond_the_space_is_found(tuned, best, tried, extended):
    outcome, _ = tuned(peak(best), {"log": [0.01, 1], "points": 3})
    assert outcome.value == best
    assert values(outcome) == tried
    assert (outcome.why_not, outcome.report["extended"]) == ("", extended)


def test_after_two_extensions_it_cannot_be_compared(tuned):
    outcome, _ = tuned(peak(1e9), {"log": [0.01, 1], "points": 3})
    assert outcome.value == 10000.0
    assert outcome.why_not == (
        "the best optimizer.learning_rate, 10000, is at the edge of the values tried, "
        "although they were extended 2 times"
    )


def test_a_list_is_not_extended(tuned):
    outcome, runs = tuned(peak(1.0), {"values": [0.1, 1]})
    assert outcome.value == 1
    assert outcome.why_not.endswith("is at the edge of the values tried, and a list of values is not extended")
    assert len(runs.trained) == 4


def test_values_that_a_setting_cannot_have_are_not_tried(tuned):
    momentum = {"sync": {**ARM["sync"], "optimizer.name": "sgd"}}
    outcome, _ = tuned(
        lambda settings: [settings.optimizer.momentum],
        {"linear": [0.1, 0.7], "points": 3},
        "optimizer.momentum",
        arms=momentum,
    )
    assert values(outcome) == [0.1, 0.4, 0.7]  # 1.0 is none
    assert outcome.why_not.endswith("at the edge of the values tried, and cannot lie beyond it")


def test_whole_numbers_stay_whole(tuned):
    outcome, runs = tuned(
        lambda settings: [0.9 if settings.training.batch_size_per_worker == 20 else 0.5],
        {"values": [10, 20, 40]},
        "training.batch_size_per_worker",
    )
    assert outcome.value == 20
    assert isinstance(outcome.value, int)
    assert {trial.settings.training.batch_size_per_worker for trial in runs.trained} == {10, 20, 40}


def test_a_value_with_a_diverged_seed_loses_and_stays_visible(tuned):
    def score(settings: Any) -> Any:
        if settings.optimizer.learning_rate == 1.0 and settings.training.seed == 101:
            return None
        return [settings.optimizer.learning_rate]

    outcome, _ = tuned(score, {"log": [0.01, 1], "points": 3})
    assert (outcome.value, outcome.why_not) == (0.1, "")
    assert outcome.report["trials"][2] == {"value": 1.0, "scores": [1.0, None], "error": "it diverged"}


def test_if_all_fail_there_is_no_value(tuned):
    outcome, _ = tuned(lambda settings: "no memory", {"log": [0.01, 1], "points": 3})
    assert outcome.value is None
    assert outcome.why_not == "every value of optimizer.learning_rate failed: no memory"


def test_the_mean_over_the_seeds_decides(tuned):
    scores = {(0.01, 100): 0.7, (0.01, 101): 0.7, (0.1, 100): 0.9, (0.1, 101): 0.6, (1.0, 100): 0.6, (1.0, 101): 0.6}
    outcome, _ = tuned(lambda s: [scores[s.optimizer.learning_rate, s.training.seed]], {"log": [0.01, 1], "points": 3})
    assert outcome.value == 0.1


def test_a_tie_goes_to_what_is_better_over_the_whole_run_and_then_to_the_lower_value(tuned):
    late, early = [0.1, 0.9], [0.8, 0.9]
    outcome, _ = tuned(lambda s: early if s.optimizer.learning_rate == 0.1 else late, {"log": [0.01, 1], "points": 3})
    assert outcome.value == 0.1
    outcome, _ = tuned(lambda s: early, {"values": [0.2, 0.3, 0.4]})
    assert outcome.value == 0.2


def test_each_key_is_tuned_by_its_first_cell(tmp_path):
    path = tmp_path / "comparison.yaml"
    tuning = {RATE: {"log": [0.01, 1], "points": 3}, "for_each": ["arm"]}
    path.write_text(to_yaml({"arms": {**ARM, "other": {}}, "grid": {"workers": [2, 4]}, "tune": tuning}))
    plan = ComparisonPlan(read_comparison(str(path)))
    runs = InstantRuns(tmp_path, peak(0.1))
    outcomes = tune(plan, lambda trials: runs.train(trials, "tuning"))
    assert {key: outcome.value for key, outcome in outcomes.items()} == {("sync",): 0.1, ("other",): 0.1}
    assert {trial.settings.workers for trial in runs.trained} == {2}
    expected = {trial.identity for trials in tuning_trials(plan).values() for trial in trials}
    assert {trial.identity for trial in runs.trained} == expected
