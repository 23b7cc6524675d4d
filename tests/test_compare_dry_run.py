"""psgd.compare --dry-run: cells, distinct runs and the time that they will take."""

from tiny_comparison import ARMS, configured, in_process

from psgd.compare import command, directory, dry_run, estimate
from psgd.compare.__main__ import main
from psgd.compare.plan import ComparisonPlan
from psgd.config.comparison_file import read_comparison
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.jobs.probe import bench

__all__ = ["in_process"]  # a fixture


class TimeEstimator:
    """Stands in for that of psgd.compare.estimate."""

    def __init__(self, base: Settings) -> None:
        assert base.worker_count == 2

    def run(self, settings: Settings, alone: bool) -> float:
        return 3.0 if alone else 2.0

    def slowdown(self) -> float:
        return 1.5

    def costs(self, all_settings: list[Settings]) -> float:
        return 0.5 * len(all_settings)


def test_the_dry_run_lists_cells_distinct_runs_and_the_time(tmp_path, in_process, capsys, monkeypatch):
    monkeypatch.setattr(dry_run, "TimeEstimator", TimeEstimator)
    monkeypatch.setattr(command, "cores", lambda: 2)
    arms = {arm: ARMS[arm] for arm in ("sync", "weighted")}
    speeds = {"equal": {}, "uneven": {"cluster.speeds": {"repeat": [1, 0.5]}}}
    tune = {"optimizer.learning_rate": {"log": [0.1, 0.4], "points": 3}, "for_each": ["arm", "speeds"], "seeds": [100]}
    config = configured(tmp_path, arms=arms, grid={"speeds": speeds}, tune=tune, seeds=[0, 1])
    assert main([str(config), "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "4 cells, each with 2 seeds:",
        "  sync, speeds equal",
        "  sync, speeds uneven (the same runs as sync, speeds equal)",
        "  weighted, speeds equal",
        "  weighted, speeds uneven",
        "Runs for tuning: 9",
        "  and up to 16 more, where the best value lies at the edge of those tried",
        "Runs for scoring: 6",
        "Runs for timing, one at a time: 4",
        # 9 and 6 runs of 2 s on 2 cores, 1.5 times as long together; 4 runs of 3 s; 4 cells of 0.5 s and the figures
        "Estimated time: 39.5 s (tuning 13.5 s, scoring 9.00 s, timing 12.0 s, costs and report 5.00 s), "
        "with 2 runs at once",
    ]
    assert not (tmp_path / "out").exists()


def test_arms_that_differ_in_what_is_tried_for_them_are_counted_each(tmp_path, in_process, capsys, monkeypatch):
    """Their values may differ. With equal values to try, they have the same runs."""
    monkeypatch.setattr(dry_run, "TimeEstimator", TimeEstimator)
    arms = {"one": ARMS["sync"], "low": {**ARMS["sync"], "tune": {"optimizer.learning_rate": {"log": [0.01, 0.04]}}}}
    arms["two"] = {**ARMS["sync"], "tune": {"optimizer.learning_rate": {"log": [0.1, 0.4]}}}
    tune = {"optimizer.learning_rate": {"log": [0.1, 0.4], "points": 3}, "for_each": ["arm"], "seeds": [100]}
    config = configured(tmp_path, arms=arms, tune=tune, seeds=[0, 1])
    assert main([str(config), "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:5] == ["  one", "  low", "  two (the same runs as one)", "Runs for tuning: 6"]
    assert "Runs for scoring: 4" in lines
    assert "Runs for timing, one at a time: 4" in lines


def test_the_dry_run_refuses_what_the_real_call_would(tmp_path, in_process, capsys):
    config, where = configured(tmp_path, arms={"sync": {}}), tmp_path / "out"
    plan = ComparisonPlan(read_comparison(str(config)))
    directory.open_comparison(where, plan.comparison, plan.base)
    before = {path.name: path.read_bytes() for path in where.iterdir()}
    other = configured(tmp_path, arms={"sync": {"optimizer.momentum": 0.9}})
    for output, problem in ((where, "what differs from its comparison.yaml is arms.sync;"), (config, "is a file")):
        said = []
        for more in ([], ["--dry-run"]):
            assert main([str(other), "--output", str(output), *more]) == UsageError.code
            said.append(capsys.readouterr().err)
        assert said[0] == said[1]
        assert problem in said[0]
    assert {path.name: path.read_bytes() for path in where.iterdir()} == before


def test_the_estimate_grows_with_the_work(tmp_path, monkeypatch):
    for name in ("SECONDS", "TOGETHER", "TIMED_SECONDS"):  # of measurements, which may be as noisy as they like
        monkeypatch.setattr(bench, name, 0.005)
    plan = ComparisonPlan(read_comparison(str(configured(tmp_path, tune=None))))
    estimator, settings = estimate.TimeEstimator(plan.base), plan.settings(plan.cells[0], 0)
    longer = settings.replace(training=settings.training.replace(epochs=5000.0))
    more = longer.replace(training=longer.training.replace(evaluate_every=0.05))
    seconds = [estimator.run(each, alone=False) for each in (settings, longer, more)]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert estimator.costs([settings, longer]) == estimator.costs([settings]) > 0
