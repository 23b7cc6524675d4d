"""What psgd.explain says about real runs, against numbers worked out by hand."""

import json
import re
import signal

import pytest
from run_files import read_summary

from psgd.compare.single_run.explain import explain, read
from psgd.compare.single_run.formulas import contraction_of, formula
from psgd.config.resolve import resolve
from psgd.core.errors import DataError
from psgd.explain import main
from psgd.jobs.build import strategy_of
from psgd.jobs.launch import command

SPEEDS = "cluster.speeds=[1, 1, 0.5, 0.25]"


@pytest.fixture
def trained(tmp_path, capsys):
    """A function that trains on the digits in this process, and returns the run's directory."""
    handlers = {number: signal.getsignal(number) for number in (1, 2, 10, 15)}

    def run(*settings: str):
        assert command.main([*settings, "group=serial", "--quiet", "--output", str(tmp_path / "run")]) == 0
        capsys.readouterr()
        return tmp_path / "run"

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_outer_step_is_written_out():
    settings = resolve(None, ["strategy.name=parameter-averaging", "workers=2", "strategy.outer.momentum=0.5"]).settings
    assert formula(settings, strategy_of(settings, 100))[-3:] == [
        "  a = (w_0 + w_1) / 2",
        "and the outer optimizer takes a step towards the average:",
        "  u <- 0.5 u + d, w <- w - 0.7 (d + 0.5 u),   d = w - a",
    ]
    settings = resolve(None, ["workers=1", "strategy.outer={learning_rate: 1.0, momentum: 0.0}"]).settings
    assert formula(settings, strategy_of(settings, 100))[-1] == "  w <- w - 1 d,   d = w - a"


def test_weighted_averaging_by_hand(trained):
    """1,437 examples in an epoch, 25 steps of 10 for the fastest: 25 + 25 + 12.5 + 6.25 steps a round are 687.5."""
    run = trained("training.epochs=1", "optimizer.name=sgd", SPEEDS, "strategy.period=25", "strategy.contraction=0.9")
    lines = explain(run)
    text = "\n".join(lines)
    assert "weighted-averaging with 4 workers; 3 rounds, 1.43 epochs (done)" in lines[0]
    assert "takes up to 25 steps" in text
    assert "w_i <- w_i - 0.1 g_i" in text
    assert "w = q_0 w_0 + q_1 w_1 + q_2 w_2 + q_3 w_3,   q_i = r^T_i / (r^T_0 + r^T_1 + r^T_2 + r^T_3)" in text
    # rounds: (25, 25, 12, 6), (25, 25, 13, 6), (25, 25, 12, 6); 0.9^13 = 0.2542, 0.9^12 = 0.2824, 0.9^19 = 0.1351
    assert "(0.4185, 0.4185, 0.1064, 0.05654) in 2 of these, first in round 1" in text
    assert "(0.4136, 0.4136, 0.1168, 0.05588) in 1 of these, first in round 2" in text
    assert "T = (0, 0, 13, 19), r = 0.9: r^T = (1, 1, 0.2542, 0.1351), sum 2.3893, q = (0.4185, 0.4185, 0.1064" in text
    assert "r in these rounds: 0.9 in 3" in text
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()[:1].isdigit()}
    assert rows["0"][:3] == ["1", "75", "25"]
    assert rows["2"][:3] == ["0.5", "37", "12.33"]
    # times 12 / 0.5 = 24, 13 / 0.5 = 26, 24; 6 / 0.25 = 24; the slowest need 25 + 26 + 25
    assert rows["2"][3] == f"{1 - 74 / 76:.1%}"
    assert rows["3"][3] == f"{1 - 72 / 76:.1%}"
    summary = read_summary(run)
    assert (
        f"{summary['bytes_sent_per_worker']:,} bytes, {summary['bytes_sent_per_worker'] // 3:,} a round." in lines[-1]
    )


def test_the_contraction_of_each_round_is_found_from_its_weights(trained):
    run = read(trained("training.epochs=3", "workers=2", "cluster.speeds=[1, 0.5]", "strategy.period=20"))
    strategy = run.strategy
    assert len(run.rounds) > 3
    for row in run.rounds:
        r = contraction_of(strategy, strategy.plan.steps(row["round"] - 1), 10, row["weights"])
        assert r in (1, 0.9999, 0.999, 0.99, 0.97, 0.9, 0.5)
        assert row["weights"] == pytest.approx([1 / (1 + r**10), r**10 / (1 + r**10)], abs=1e-8)
    assert contraction_of(strategy, (20, 10), 10, (0.6, 0.4)) is None
    assert contraction_of(strategy, (20, 10), 10, (1.0, 0.0)) is None  # worker 1 was excluded


@pytest.mark.parametrize(
    ("penalties", "added"),
    [
        ((), ""),
        (("optimizer.l2=0.01",), ", plus 0.01 {} but for biases"),
        (("optimizer.l1=0.002",), ", plus 0.002 sign({}) but for biases"),
        (("optimizer.l1=0.002", "optimizer.l2=0.01"), ", plus 0.01 {} + 0.002 sign({}) but for biases"),
    ],
)
def test_penalties_are_part_of_the_gradient(penalties, added):
    """What is trained is the loss + l1 |w|_1 + l2 / 2 |w|^2."""

    def lines(strategy):
        settings = resolve(None, [f"strategy.name={strategy}", "optimizer.name=sgd", "workers=2", *penalties]).settings
        return formula(settings, strategy_of(settings, 1000))

    both, each = lines("gradient-averaging"), lines("parameter-averaging")
    own = "mean gradient of 10 examples of its own"
    assert both[0] == f"In a round, each worker computes g_i, at w the {own}{added.replace('{}', 'w')}. Then"
    assert each[1] == f"  w_i <- w_i - 0.1 g_i,   g_i: the {own}{added.replace('{}', 'w_i')}"


def test_gradient_averaging_waits_for_the_slowest(trained):
    lines = explain(trained("strategy.name=gradient-averaging", "training.epochs=0.5", SPEEDS))
    assert (
        "  w <- w - 0.001 m / (sqrt(v) + 1e-08), adam's moments m and v of g,   g = (g_0 + g_1 + g_2 + g_3) / 4"
        in lines
    )
    assert "  (0.25, 0.25, 0.25, 0.25) in 18 of these, first in round 1" in lines
    assert "Others waited for worker 3 in 18 of 18 rounds: all take as many steps, whatever their speeds." in lines
    waits = [line.split()[4] for line in lines if line.strip()[:1].isdigit()]
    assert waits == ["75.0%", "75.0%", "50.0%", "0.0%"]


def test_parameter_averaging_of_a_run_that_has_not_ended(trained):
    arguments = "strategy.name=parameter-averaging", "strategy.period=end", "training.epochs=1", "workers=2"
    run = trained(*arguments, "optimizer.name=sgd", "optimizer.momentum=0.9", "optimizer.schedule=cosine")
    (run / "summary.json").unlink()
    lines = explain(run)
    assert "1 round, 1.00 epochs (not ended)" in lines[0]
    assert "each worker sets w_i = w and takes 72 steps," in lines[1]  # 144 batches of 10 for 1,437 examples, by two
    assert lines[2].startswith("  v <- 0.9 v + g_i, w_i <- w_i - 0.1 v,")
    assert "the learning rate falls from 0.1 to 0, as a cosine" in lines[3]
    assert "  w = (w_0 + w_1) / 2" in lines
    assert "By their speeds and steps all workers end a round together: nobody waits." in lines


def test_the_measured_seconds_are_those_of_the_summary(trained):
    run = trained("workers=1", "training.epochs=1")
    summary = read_summary(run)
    lines = explain(run)
    assert "One worker: its weight is 1, and nobody waits." in lines
    measured = next(line for line in lines if line.startswith("Measured"))
    assert f"Measured on process 0 of 1 (serial): {summary['train_seconds']:.4g} s" in measured
    assert f"computing {summary['compute_seconds']:.4g} s" in measured
    assert lines[-1] == "Nothing is sent."


@pytest.mark.parametrize(
    ("file", "name", "value", "words"),
    [
        ("summary.json", "rounds", 0, "rounds is 0, which no run has"),
        ("summary.json", "epochs", 10**400, "epochs is a number that is too large, which no run has"),
        ("metrics.jsonl", "examples", float("nan"), "examples is NaN, which no run has"),
        ("summary.json", "bytes_sent_per_worker", [], "bytes_sent_per_worker is []; expected a number"),
        ("summary.json", "worker_steps", [1], r"worker_steps is [1]; expected a number for each of 4 workers"),
        ("summary.json", "worker_steps", [1, 2, 3, None], "worker_steps: 3 is null; expected a number"),
        ("metrics.jsonl", "epoch", float("nan"), "epoch is NaN, which no run has"),
        ("metrics.jsonl", "wait_seconds", "1", 'wait_seconds is "1"; expected a number'),
        ("metrics.jsonl", "weights", [1.0], "weights is [1.0]; expected a number for each of 4 workers"),
    ],
)
def test_values_that_psgd_does_not_write_are_named(trained, file, name, value, words):
    run = trained("training.epochs=1", SPEEDS, "strategy.period=25")
    lines = [json.loads(line) for line in (run / file).read_text().splitlines()] if file.endswith("l") else []
    changed = [row | {name: value} if "weights" in row else row for row in lines]
    text = "".join(json.dumps(row) + "\n" for row in changed) or json.dumps(read_summary(run) | {name: value})
    (run / file).write_text(text)
    with pytest.raises(DataError, match=re.escape(f"{run / file}: {words}")):
        explain(run)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "does not exist: give the directory of a run"),
        ({"metrics.jsonl": ""}, "has no round yet"),
        ({"metrics.jsonl": '{"seconds": 1, "examples": 2, "weights": [1]}\n'}, "cannot read this config"),
        (
            {"metrics.jsonl": '{"seconds": 1, "examples": 2, "weights": [1]}\n', "config.yaml": ""},
            "round is null; expected a number",
        ),
        (
            {
                "metrics.jsonl": '{"seconds": 1, "examples": 2, "weights": [1]}\n',
                "config.yaml": "",
                "summary.json": "{",
            },
            "summary.json: cannot be read",
        ),
    ],
)
def test_what_is_no_run_is_one_line_and_code_3(tmp_path, capsys, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert main([str(tmp_path)]) == DataError.code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_command_prints_the_explanation(trained, capsys):
    run = trained("training.epochs=0.2", "workers=2", "strategy.period=5")
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == "\n".join(explain(run)) + "\n"
