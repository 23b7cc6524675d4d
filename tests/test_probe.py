"""The probe of --dry-run: forecasts computed by hand, measurements by their properties, the command by its output."""

import math
import sys
import time
from functools import partial
from pathlib import Path
from pipes import run_pipes

import pytest
from command import train
from processes import Finished, Mpi, mpi, python, run

from psgd.config.resolve import resolve
from psgd.config.settings import Settings
from psgd.data.sources.load import load_data
from psgd.group.transport import Transport
from psgd.jobs.probe import bench
from psgd.jobs.probe.concurrent import run_concurrently
from psgd.jobs.probe.forecast import Forecast, Machine, Round, forecast, recommend, slowdown
from psgd.jobs.probe.probe import Findings, forecast_all, lines, probe

__all__ = ["mpi"]

TWO_CORES = Machine(2, {1: 1.0, 2: 1.5}, {1: 1.0, 2: 2.0}, {1: 0.0, 2: 0.25})
ONE_CORE = Machine(1, {1: 1.0}, {1: 1.0}, {1: 0.0})
BY_HAND = Round("some-averaging", steps=5, local=8.0, leaf=1.0, apply=2.0, rest=0.5)


# psgd.train with measurements that may be as noisy as they like
QUICK = (
    "from psgd.jobs.launch.command import main; from psgd.jobs.probe import bench;"
    "bench.SECONDS = bench.TOGETHER = bench.TIMED_SECONDS = 0.005; raise SystemExit(main())"
)


def test_one_worker_by_hand():
    """8 + (1 + 2) / 1 + 0.5 = 11.5 seconds for 5 steps of 10 examples."""
    assert forecast(BY_HAND, TWO_CORES, 10, 1, 1) == Forecast("some-averaging", 1, 1, pytest.approx(50 / 11.5), False)


def test_two_workers_by_hand():
    """8 x 1.5 + (2 + 2) / 2 x 2 + 0.5 + 2 x 0.25 = 17."""
    assert forecast(BY_HAND, TWO_CORES, 10, 2, 2).examples_per_second == pytest.approx(100 / 17)


def test_more_workers_than_cores_by_hand():
    """5 workers on 2: three on one of them. 24 x 1.5 + (5 + 2) / 2 x 2 + 0.5 + 0.5 = 44."""
    found = forecast(BY_HAND, TWO_CORES, 10, 5, 2)
    assert found.examples_per_second == pytest.approx(250 / 44)
    assert not found.modelled


def test_more_cores_than_here_by_hand():
    """s(8) = 1 + 0.5 x 7 = 4.5, c(8) = 8, exchange(8) = 0.25 x 3: 8 x 4.5 + (8 + 2) / 8 x 8 + 0.5 + 1.5 = 48."""
    found = forecast(BY_HAND, TWO_CORES, 10, 8, 8)
    assert found.examples_per_second == pytest.approx(400 / 48)
    assert found.modelled


def test_figures_between_measurements_are_interpolated():
    slowdowns = {1: 1.0, 4: 1.3, 16: 2.5}
    machine = Machine(16, slowdowns, slowdowns, {1: 0.0, 4: 4.0, 16: 10.0})
    assert (slowdown(slowdowns, 4), slowdown(slowdowns, 8)) == (1.3, pytest.approx(1.7))
    assert (machine.exchange(4), machine.exchange(8)) == (4.0, pytest.approx(6.0))
    assert (slowdown(slowdowns, 31), machine.exchange(256)) == (pytest.approx(4.0), pytest.approx(20.0))


def test_one_core_has_no_slowdown():
    machine = ONE_CORE
    assert slowdown(machine.slowdowns, 8) == 1.0
    assert machine.exchange(1) == 0.0
    assert machine.exchange(8) > 0


def rounds(step: float, loop: float = 60e-6, parameters: float = 1e-6) -> list[Round]:
    """Rounds of both strategies with steps of `step` seconds; reducing and applying take `parameters` seconds each."""
    return [
        Round("gradient-averaging", 1, step, parameters, parameters, loop),
        Round("parameter-averaging", 50, 50 * step, parameters, parameters, loop),
    ]


def answer(rounds: list[Round], machine: Machine, wanted: int = 1) -> list[Forecast]:
    return forecast_all(rounds, machine, 100, wanted)


FOUR_CORES = Machine(4, {1: 1.0, 2: 1.0, 4: 1.1}, {1: 1.0, 4: 1.1}, {1: 0.0, 2: 20e-6, 4: 40e-6})


def test_costly_steps_are_worth_every_core():
    """50 steps of 10 ms in 0.5 s: the rest is nothing. 4 / 1.1 = 3.6."""
    found = answer(rounds(step=10e-3), FOUR_CORES)
    best, sentence = recommend(found)
    assert best.workers == 4
    assert sentence == "4 workers by parameter-averaging: 3.6 times one"


def test_costly_combinations_are_for_parameter_averaging():
    found = answer(rounds(step=1e-3, parameters=5e-3), FOUR_CORES)
    best, _ = recommend(found)
    assert (best.strategy, best.workers) == ("parameter-averaging", 4)
    by_gradients = next(f for f in found if f.strategy == "gradient-averaging" and f.workers == 4)
    assert by_gradients.examples_per_second < best.examples_per_second / 4


def test_cheap_steps_with_costly_exchanges_are_for_one_worker():
    """50 steps of 1 microsecond, and exchanges of 100."""
    machine = Machine(2, {1: 1.0, 2: 1.0}, {1: 1.0, 2: 1.0}, {1: 0.0, 2: 100e-6})
    best, sentence = recommend(answer(rounds(step=1e-6), machine))
    assert best.workers == 1
    one, two = 50 + 2 + 60, 50 + 3 / 2 + 60 + 200
    assert sentence == (
        f"one worker is fastest for this network: 2 by parameter-averaging would be {2 * one / two:.2f} times as fast"
    )


def test_processes_that_slow_each_other_down_are_for_one_worker():
    machine = Machine(2, {1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0}, {1: 0.0, 2: 1e-6})
    assert recommend(answer(rounds(step=10e-3), machine))[0].workers == 1


def test_a_tenth_more_is_not_worth_another_process():
    for longer, workers in ((1.85, 1), (1.75, 2)):
        machine = Machine(2, {1: 1.0, 2: longer}, {1: 1.0}, {1: 0.0, 2: 1e-6})
        assert recommend(answer(rounds(step=10e-3), machine))[0].workers == workers


def test_more_workers_than_cores_are_not_recommended():
    found = answer(rounds(step=10e-3), Machine(2, {1: 1.0, 2: 1.0}, {1: 1.0, 2: 1.0}, {1: 0.0, 2: 1e-6}), wanted=8)
    places = {(f.workers, f.processes, f.modelled) for f in found}
    assert places == {(1, 1, False), (2, 2, False), (4, 4, True), (8, 8, True), (16, 16, True), (8, 2, False)}
    assert recommend(found)[0].workers == 2


def test_the_recommendation_for_one_core_says_so():
    assert recommend(answer(rounds(1e-3), ONE_CORE))[1].endswith("there is one core")


def test_the_lines_say_what_is_modelled_and_end_with_the_recommendation():
    both, machine = rounds(step=10e-3), TWO_CORES
    text = lines(Findings(machine, both, forecast_all(both, machine, 100, 4), 100, 1234, 2.0, load=3.0))
    modelled = [line for line in text if "modelled" in line]
    assert [line.split()[0] for line in modelled] == ["4", "8", "16"]
    assert sum("1,234 parameters" in line for line in text) == 1
    assert sum("load 3.0" in line for line in text) == 1
    assert [line.startswith("Recommendation: ") for line in text] == [False] * (len(text) - 1) + [True]


def test_concurrent_processes_run_the_work_and_synchronise():
    def work(barrier) -> None:
        for _ in range(3):
            time.sleep(0.002)
            barrier()

    for processes in (1, 2, 3):
        seconds = run_concurrently(processes, work, 0.05)
        assert seconds is not None
        assert 0.006 <= seconds < 6


def test_a_failing_process_gives_no_measurement(capfd):
    def work(barrier) -> None:
        raise RuntimeError("on purpose")

    assert run_concurrently(2, work, 0.05) is None
    assert capfd.readouterr().err.count("RuntimeError: on purpose") == 2


SMALL = ("data.source=synthetic", "data.examples=600", "data.features=20", "model.hidden=[8]")


def probe_quickly(settings: Settings, transport: Transport) -> Findings:
    """For a process of its own."""
    bench.SECONDS = bench.TOGETHER = bench.TIMED_SECONDS = 0.005
    return probe(settings, load_data(settings))


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("strategy.name=gradient-averaging", "optimizer.clip_norm=1"),
        ("strategy.name=parameter-averaging", "strategy.period=1", "strategy.optimizer_state=average"),
        ("strategy.name=parameter-averaging", "strategy.period=end", "optimizer.name=sgd", "optimizer.momentum=0.9"),
        ("cluster.speeds=[1,1,0.5,0.5]", "data.mode=partition", "training.target=0.01"),
        ("data.classes=0", "model.loss=squared-error", "optimizer.learning_rate=1e9"),
        ("optimizer.name=sgd", "data.classes=0", "model.loss=squared-error", "optimizer.learning_rate=1e7"),
    ],
    ids=lambda more: more[0] if more else "default",
)
def test_every_kind_of_job_can_be_probed(more):
    """In a process that has little in its memory, because the probe forks others."""
    settings = resolve(None, [*SMALL, *more]).settings
    found = run_pipes(1, partial(probe_quickly, settings)).results[0]
    assert all(math.isfinite(f.examples_per_second) and f.examples_per_second > 0 for f in found.forecasts)
    assert len({r.strategy for r in found.rounds}) == 2
    own = next(r for r in found.rounds if r.strategy == settings.strategy.name)
    assert own.local > 0
    assert own.steps == {"end": 3000}.get(
        period := settings.averaging.period if settings.averaging else 1, period
    )  # 50 epochs of 60


def printed(finished: Finished) -> list[str]:
    """The lines of the answer."""
    assert finished.code == 0, finished
    return finished.stdout.splitlines()


def test_the_answer_is_all_that_is_printed_and_the_recommendation_comes_last(tmp_path):
    where = {"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    said = printed(python("-c", QUICK, *SMALL, "--dry-run", f"output={tmp_path}/runs/x", **where))
    assert said[-1].startswith("Recommendation: ")
    assert said[-2] == ""
    assert len(said) < 24  # lines of the smallest terminals
    assert not [line for line in said if line.startswith(("#", "data:", "model:"))]  # no config
    assert list(tmp_path.iterdir()) == []


def test_without_a_probe_numpy_is_not_imported():
    code = (
        "import sys; from psgd.jobs.launch.command import main;"
        "code = main(['--dry-run', '--no-probe', 'data.source=mnist']);"
        "sys.exit(code or ('numpy' in sys.modules) * 9)"
    )
    assert python("-c", code).code == 0


def test_invalid_data_are_reported_as_without_a_dry_run(tmp_path):
    finished = train("data.source=idx", f"data.path={tmp_path}/none", "--dry-run")
    assert finished.code == 3
    assert finished.stderr.count(f"no directory at {tmp_path}/none") == 1
    assert "Traceback" not in finished.stderr


def test_no_probe_is_an_error_without_dry_run():
    finished = train("--no-probe")
    assert (finished.code, finished.stdout) == (2, "")
    assert "--dry-run" in finished.stderr


def test_under_a_launcher_one_process_answers(mpi: Mpi, tmp_path: Path):
    finished = run(mpi.command(2, "-c", QUICK, *SMALL, "--dry-run", f"output={tmp_path}/x"))
    assert sum(line.startswith("Recommendation: ") for line in printed(finished)) == 1
    assert list(tmp_path.iterdir()) == []


def test_under_a_launcher_that_has_one_core_no_more_are_measured(mpi: Mpi):
    one = (
        "import os, sys; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    finished = run([sys.executable, "-c", one, *mpi.command(2, "-c", QUICK, *SMALL, "--dry-run")])
    assert printed(finished)[-1].startswith("Recommendation: one worker is fastest here: there is one core"), finished
