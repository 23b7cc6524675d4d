"""What is wrong with the config of a comparison is one line, with the value and what to do."""

import pytest
from comparison_plans import ARMS, RATES, plan

from psgd.config.comparison_file import EXAMPLES
from psgd.config.document import parse_yaml
from psgd.core.errors import UsageError

__all__ = ["plan"]  # a fixture

SQUARED, HUBER = {"model.loss": "squared-error"}, {"model.loss": "huber"}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"arms": {}}, "arms is {}"),
        ({"arms": ["a"]}, 'arms is ["a"]; it must be a mapping of names to settings, such as {adam: {opt'),
        ({"grid": [1]}, "grid is [1]; it must be a mapping such as {workers: [1, 2, 4]}"),
        ({"exclude": 3}, "exclude is 3; it must be a list of mappings such as [{workers: 1}]"),
        ({"tune": 3}, "tune is 3; it must be a mapping such as {optimizer.learning_rate: {log: "),
        ({"budget": 3}, "budget is 3; it must be a mapping such as {epochs: 10}"),
        ({"target": 0.9}, "target is 0.9; it must be a mapping such as {metric: validation_accuracy, value: auto}"),
        ({"price": "fast"}, 'price is "fast"; it must be a mapping such as {here: measured}'),
        ({"sed": [1]}, "sed is not a setting of a comparison; did you mean seeds?"),
        (
            {"arms": {"a/b": {}}},
            'arms has the name "a/b"; a name begins with a letter, a digit or _, and',
        ),
        ({"price": {"1 Gbit/s": {"hosts": 2, "network": "1Gbit,1ms"}}}, 'price has the name "1 Gbit/s"; a name begins'),
        ({"grid": {"speeds": {"50 %": {}}}}, 'grid.speeds has the name "50 %"; a name begins with'),
        ({"arms": {"sync": None}}, "arms.sync is null; it must be a mapping such as {optimizer.name: adam}"),
        ({"tune": {"optimizer.learning_rate": [0.1, 0.2]}}, "tune.space is [0.1, 0.2]; it must be a mapping such as"),
        (
            {"arms": {"a": {}}, "tune": {"strategy.period": {"log": [1, 100]}}},
            "tune.strategy.period has limits, but strategy.period must be a whole number; list what to try: {values: [",
        ),
        ({"tune": {"model.hidden": {"log": [1, 100]}}}, "model.hidden is 1.0; it must be a list of whole numbers"),
        ({"arms": {"a": {}}, "tune": {"strategy.period": {"values": [1, 2.5, 4]}}}, "strategy.period is 2.5; it must"),
        ({"question": "Who?\nWhen?"}, r'question is "Who?\nWhen?"; it must be text that is not empty, of one line'),
        ({"seeds": 3}, "seeds is 3; it must be a list such as [0, 1, 2]"),
        ({"seeds": [1, 1]}, "seeds is [1, 1]; names something twice"),
        ({"budget": {"epochs": 0}}, "budget.epochs is 0; it must be greater than 0"),
        ({"reference": "c"}, 'reference is "c", which is none of the arms sync, average, weighted'),
        ({"target": {"value": 93}}, "target.value is 93; an accuracy is greater than 0 and at most 1"),
        ({"target": {"value": "high"}}, 'target.value is "high"; it must be a number or auto'),
        ({"grid": {"workers": 5}}, "grid.workers is 5; it must be a list of values"),
        ({"grid": {"workers": []}}, "grid.workers is empty; leave it out"),
        ({"grid": {"workers": [1, 1]}}, "grid.workers is [1, 1], which names something twice"),
        ({"grid": {"arm": [1]}}, "grid.arm: arm is what the arms are called"),
        ({"grid": {"strategy.period": [1, 2]}}, "grid.strategy.period sets strategy.period, as arms.weighted does"),
        ({"grid": {"training.seed": [1]}}, "training.seed is the same for all cells; set seeds of the comparison"),
        ({"grid": {"worker": [1, 2]}}, "worker is not a setting; did you mean workers?"),
        ({"exclude": [{"workers": 3}]}, "exclude[0]: workers is none of arm"),
        ({"exclude": [{}]}, "exclude[0] names no axis"),
        ({"exclude": [{"arm": "c"}]}, 'exclude[0] is {"arm": "c"}, which fits no cell'),
        ({"exclude": [{"arm": arm} for arm in ARMS]}, "exclude leaves no cell of the grid"),
        ({"grid": {"workers": list(range(1, 400))}}, "arms and grid have 1,197 cells; at most 1,000 can be compared"),
        (
            {"tune": {**RATES, "strategy.outer.learning_rate": {"values": [0.7, 1]}}},
            "tune names 2 settings; name one, such as optimizer.learning_rate: {log: [0.01, 1]}, and have an arm",
        ),
        ({"tune": {"rate": {"log": [1, 2]}}}, "tune names 0 settings; name one, such as optimizer.learning_rate"),
        ({"tune": {"optimizer.learning_rate": {"lag": [1, 2]}}}, "tune.space.lag is not a setting"),
        ({"tune": {"optimizer.learning_rate": {"log": [2, 1]}}}, "its first number must be less than the second"),
        ({"tune": {"optimizer.learning_rate": {"log": [0, 1]}}}, "its limits must be greater than 0"),
        ({"tune": {"optimizer.learning_rate": {"points": 3}}}, "needs one of log, linear, values; it has none"),
        ({"tune": {**RATES, "for_each": ["workers"]}}, "tune.for_each: workers is none of arm"),
        ({"tune": {**RATES, "seeds": [0]}}, "tune.seeds and seeds both have 0; a seed that chose a value must not be"),
        ({"tune": {"optimizer.rate": {"log": [1, 2]}}}, "optimizer.rate is not a setting of adam"),
        ({"tune": RATES, "grid": {"optimizer.learning_rate": [1]}}, "which grid.optimizer.learning_rate sets"),
        (
            {"tune": {"training.batch_size_per_worker": {"log": [1, 9]}}},
            "training.batch_size_per_worker must be a whole number; list what to try",
        ),
        ({"arms": {"a": {"training.epochs": 3}}}, "training.epochs is the same for all arms; set budget.epochs"),
        ({"arms": {"a": {"training": {"seed": 3}}}}, "training.seed is the same for all arms; set seeds"),
        (
            {"arms": {"a": {"training.early_stop.patience": 3}}},
            "arms.a: training.early_stop would end some runs before",
        ),
        ({"grid": {"training.early_stop": [{}]}}, "grid.training.early_stop: training.early_stop would end some runs"),
        ({"arms": {"a": {"data.source": "mnist"}}}, "arms.a: data.source would give the arm other data"),
        ({"arms": {"a": {"workers": "auto"}}}, "workers is auto, which depends on the machine; set a number"),
        (
            {"arms": {"a": {}, "b": {"optimizer.learning_rat": 1}}},
            "b: optimizer.learning_rat is not a setting of adam; did",
        ),
        ({"arms": {"a": {"tune": RATES}}}, "arms.a.tune: the comparison tunes nothing"),
        (
            {"arms": {"a": {"tune": {"workers": 1}}}, "tune": RATES},
            "all arms tune the same setting, so it must be a mapping such as {optimizer.learning_rate",
        ),
        (
            {"arms": {"a": {"tune": {"optimizer.learning_rate": {"values": [1, 2]}}}}, "tune": RATES},
            "arms.a.tune.optimizer.learning_rate has 2 values, and tune 5; all arms must be tuned by as many",
        ),
        (
            {"arms": {"a": {"tune": {"optimizer.learning_rate": {"points": "two"}}}}, "tune": RATES},
            'arms.a.tune.optimizer.learning_rate.points is "two"',
        ),
        ({"arms": {"a": {"tune": RATES}}, "tune": {**RATES, "for_each": []}}, "tune.for_each leaves out arm"),
        ({"price": {"x": "mesured"}}, 'price.x is "mesured"; it must be measured, or a mapping such as {hosts: 4'),
        ({"price": {"x": {"host": 2}}}, "price.x.host is not a setting of a comparison; did you mean hosts?"),
        ({"price": {"x": {"hosts": 2, "network": "fast"}}}, "price x: network is 'fast'; give bandwidth and one-way"),
        (
            {"price": {"x": {"hosts": 2, "workers_per_host": 1, "network": "1Gbit,1ms"}}},
            "price x: hosts is 2: 4 workers, 1 a host, need 4",
        ),
        (
            {"price": {"x": {"hosts": 2}}},
            "price.x.hosts is 2, but there is no network between them; give bandwidth and one-way latency, such as "
            'network: "1Gbit,0.1ms"',
        ),
        (
            {"price": {"x": {"network": "1Gbit,1ms"}}},
            'price.x.network is "1Gbit,1ms", but hosts is 1; set hosts, or leave network out',
        ),
        ({"grid": {"s": {"s": {"cluster.speeds": {"repeat": [1, 5]}}}}}, "cluster.speeds is [1, 5, 1, 5]; it must be"),
        ({"grid": {"s": {"s": {"cluster.speeds": [1, 0.5]}}}}, "cluster.speeds names 2 speeds, but workers is 4"),
        ({"base": "none.yaml"}, "none.yaml: there is neither such a file"),
        (
            {"arms": {"a": {}}, "grid": {"data": {"line": {"data.source": "linear", "model.loss": "squared-error"}}}},
            "target.metric is validation_accuracy, but there are no classes; set validation_loss",
        ),
        (
            {"arms": {"a": SQUARED, "b": SQUARED, "c": HUBER}, "target": {"metric": "validation_loss", "value": 0.1}},
            "target.metric is validation_loss, but different losses cannot be compared (squared-error of a; huber with "
            "the threshold 1 of c); set validation_accuracy, where there are classes, or one loss for all",
        ),
        (
            {"arms": {"a": HUBER}, "target": {"metric": "validation_loss"}, "grid": {"model.huber_threshold": [1, 2]}},
            "(huber with the threshold 1 of a, model.huber_threshold 1; huber with the threshold 2 of a, model.huber_",
        ),
        (
            {
                "arms": {"a": HUBER},
                "target": {"metric": "validation_loss"},
                "tune": {"model.huber_threshold": {"values": [1, 2]}},
            },
            "different losses cannot be compared (huber with the threshold 1 of a; huber with the threshold 2 of a)",
        ),
    ],
)
def test_a_wrong_config_is_one_line_with_the_value_and_what_to_do(plan, sections, words):
    with pytest.raises(UsageError) as caught:
        plan(**sections)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_different_losses_are_compared_by_accuracy_and_one_by_itself(plan):
    assert plan(arms={"a": SQUARED, "b": HUBER}).cells
    thresholds = {"model.huber_threshold": [1, 2]}  # which change no other loss
    assert plan(arms={"a": SQUARED}, grid=thresholds, target={"metric": "validation_loss"}).cells


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_examples_of_messages_are_valid(plan, section):
    more = {"grid": {"workers": [1, 2]}} if section == "exclude" else {}
    assert plan(**{section: parse_yaml(EXAMPLES[section].partition("such as ")[2])}, **more).cells


def test_a_problem_of_several_cells_is_one_line_that_says_where(plan):
    wrong = {"optimizer.momentum": 0.9}
    with pytest.raises(UsageError) as caught:
        plan(arms={"a": {}, "b": wrong}, grid={"workers": [1, 2]})
    assert str(caught.value).startswith("b: optimizer.momentum")
    with pytest.raises(UsageError) as caught:
        plan(arms={"a": {}, "b": {}}, grid={"workers": [1, 2], "m": {"without": {}, "with": wrong}})
    assert str(caught.value).startswith("a, workers 1, m with, and 3 more: optimizer.momentum")
    assert "\n" not in str(caught.value)
