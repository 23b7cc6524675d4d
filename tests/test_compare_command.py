"""psgd.compare as a command, with real runs: killed, stopped, broken, called again, verified, compared with earlier."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from comparing import COSTS
from processes import LIMIT, TESTS, Finished, Running, descendants
from tiny_comparison import ARMS, BASE, configured, in_process

from psgd.compare import command, cost_cache
from psgd.compare.__main__ import main
from psgd.compare.finished_run import status
from psgd.compare.plan import ComparisonPlan, Fingerprints
from psgd.compare.runs import Runs
from psgd.compare.verify import verify
from psgd.config.comparison_file import read_comparison
from psgd.config.document import to_yaml
from psgd.core.errors import INTERRUPTED, STOPPED, PsgdError, StorageError, UsageError

__all__ = ["in_process"]  # a fixture


def comparing(point: str, config: Path, *arguments: str) -> Running:
    return Running([sys.executable, str(TESTS / "comparing.py"), point, str(config), *arguments])


def read(where: Path) -> dict[str, Any]:
    return dict(json.loads((where / "results.json").read_text()))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Finished]:
    """The directory of a comparison that was not disturbed, and what it said."""
    where = tmp_path_factory.mktemp("compare")
    return where / "out", comparing("", configured(where), "--output", str(where / "out")).finish()


def test_a_broken_arm_is_visible_and_the_free_checks_come_out(made):
    where, finished = made
    assert finished.code == 0, finished
    assert "Failed: broken." in finished.stdout
    assert finished.stderr.count("psgd: broken failed: training.batch_size_per_worker is 5000, but there are") == 1
    assert "Traceback" not in finished.stderr
    results = read(where)
    sync, average, weighted, broken = results["cells"]
    assert [len(cell["runs"]) for cell in results["cells"]] == [1, 1, 1, 1]
    assert broken["runs"][0]["status"] == "failed"
    assert average["runs"][0]["sha256"] == weighted["runs"][0]["sha256"] != sync["runs"][0]["sha256"]
    assert [(entry["cells"], entry["holds"]) for entry in results["findings"]["identities"]] == [
        (["sync", "average"], True),
        (["sync", "weighted"], True),
        (["average", "weighted"], True),
    ]
    assert len(list((where / "runs").glob("*/summary.json"))) == 5
    assert all(cell["runs"][0]["measured"]["seconds"][0] for cell in (sync, average, weighted))


def test_the_processes_of_the_base_are_those_of_timed_runs_alone(tmp_path, in_process, capsys):
    """Runs are scored, and verified, in one process each."""
    config, where = configured(tmp_path, arms={"sync": ARMS["sync"]}, price={"here": "measured"}), tmp_path / "out"
    (tmp_path / "base.yaml").write_text(to_yaml({**BASE, "group": "threads", "cluster": {"processes": 2}}))
    assert main([str(config), "--output", str(where), "--dry-run"]) == 0
    assert "will fail" not in capsys.readouterr().out
    assert main([str(config), "--output", str(where)]) == 0
    (sync,) = read(where)["cells"]
    assert not sync["error"]
    assert sync["runs"][0]["measured"]["processes"] == 2
    assert main([str(config), "--output", str(where), "--verify", "sync"]) == 0


def without_times(results: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on when and how often a comparison was called."""
    for cell in results["cells"]:
        cell["costs_idle"] = None
        for run in cell["runs"]:
            if run["measured"]:
                run["measured"]["seconds"] = [[0.0 for _ in row] for row in run["measured"]["seconds"]]
                run["measured"]["idle"] = None
    del results["findings"]  # of these times
    return results


def test_killed_at_three_points_and_called_again_it_has_the_same_results(made, tmp_path):
    where, _ = made
    config, again = configured(tmp_path), tmp_path / "out"
    counts = []
    for point in ("tuning", "scoring", "timing"):
        assert comparing(point, config, "--output", str(again)).finish().code == -signal.SIGKILL
        counts.append((len(list(again.glob("runs/*/summary.json"))), len(list(again.glob("timed/*/config.yaml")))))
        assert not (again / "results.json").exists()
    assert counts[0][0] <= 2 <= counts[1][0] <= 4
    assert counts[2] == (5, 1)
    assert comparing("", config, "--output", str(again)).finish().code == 0
    first, second = without_times(read(where)), without_times(read(again))
    assert second == first
    assert not list(again.glob("**/*.partial"))


def ignoring(path: Path) -> Path:
    """Make a command that starts this Python with SIGINT ignored."""
    path.write_text(f"#!/bin/sh\ntrap '' INT\nexec {sys.executable} \"$@\"\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("number", "group", "ignored"),
    [
        (signal.SIGTERM, False, False),
        (signal.SIGUSR1, False, False),
        (signal.SIGINT, True, False),
        (signal.SIGINT, True, True),
    ],
)
def test_a_signal_ends_the_runs_with_a_checkpoint(tmp_path, monkeypatch, number, group, ignored):
    """SIGTERM or SIGUSR1 from a job scheduler to psgd.compare alone; Ctrl-C of a terminal to all of its processes, also
    where a shell has made a background job ignore it."""
    config = configured(tmp_path, arms={"long": {}}, budget={"epochs": 10000}, tune=None)
    if ignored:
        monkeypatch.setattr(sys, "executable", str(ignoring(tmp_path / "python")))
    running = comparing("", config, "--output", str(tmp_path / "out"))
    running.wait_until(lambda: list(tmp_path.glob("out/runs/*/metrics.jsonl")))
    children = descendants(running.process.pid)
    (os.killpg if group else os.kill)(running.process.pid, number)
    finished = running.finish()
    assert finished.code == (INTERRUPTED if number == signal.SIGINT else STOPPED), finished
    assert finished.stderr == "psgd: interrupted; call it again to go on\n"
    assert children
    assert not [process for process in children if Path(f"/proc/{process}").exists()]
    (run,) = tmp_path.glob("out/runs/*/")
    assert status(run) == "stopped"
    assert list((run / "checkpoints").iterdir())


def test_a_run_that_was_left_at_work_is_waited_for(tmp_path, capfd):
    plan = ComparisonPlan(read_comparison(str(configured(tmp_path, tune=None))))
    trial, runs = plan.trial(plan.cells[0], 0), Runs(tmp_path, 1)
    left = tmp_path / "runs" / trial.identity
    left.mkdir(parents=True)
    held = os.open(left, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    outcomes: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: outcomes.update(runs.train([trial], "scoring")))
    thread.start()
    said = ""
    deadline = time.monotonic() + LIMIT
    while "an earlier call left a run at work" not in said and time.monotonic() < deadline:
        said += capfd.readouterr().err
    assert str(left) in said
    assert not (left / "config.yaml").exists()
    (left / "summary.json").write_text('{"status": "done"}')  # it ends
    os.close(held)
    thread.join(LIMIT)
    assert outcomes[trial.identity] == (left, None, False)
    assert sorted(path.name for path in left.iterdir()) == ["summary.json"]  # and was not trained again


def test_called_again_nothing_that_is_done_is_trained_and_a_regression_has_code_6(made, tmp_path, in_process, capsys):
    where, _ = made
    shutil.copytree(where, tmp_path / "out")
    config = str(configured(tmp_path))
    arguments = [config, "--output", str(tmp_path / "out"), "--against", str(tmp_path / "earlier.json")]
    earlier = read(where)
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    ended = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/summary.json")}
    assert main(arguments) == 0
    assert "sync, price slow: " in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/summary.json")} == ended
    assert without_times(read(tmp_path / "out")) == without_times(read(where))
    earlier["prices"]["slow"]["network"] = "1Gbit,1us"
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    assert main(arguments) == 2
    earlier["prices"] = {"slow": read(where)["prices"]["slow"]}
    for cell in earlier["cells"]:
        cell["message_bytes"] = cell["message_bytes"] and cell["message_bytes"] / 2
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    assert main([*arguments, "--max-regress", "5%"]) == 6
    said = capsys.readouterr()
    assert "psgd: slower by more than 5%:" in said.err
    assert "sync, price slow: " in said.err
    assert "the target first, in" in said.out  # the answer and the report come first


def test_a_call_that_finds_all_runs_says_that_there_is_nothing_to_train(tmp_path, in_process, capsys, monkeypatch):
    for name in ("measure", "measure_contention"):
        monkeypatch.setattr(cost_cache, name, lambda settings, data: dict(COSTS))
    config = configured(tmp_path, arms={"sync": ARMS["sync"]})
    arguments = [str(config), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert ("scoring: 1 of 1 runs" in first.err, "nothing to train" in first.err) == (True, False)
    assert main(arguments) == 0
    again = capsys.readouterr()
    assert again.err.splitlines()[0] == "psgd: nothing to train: all 3 runs are there"
    assert " of " not in again.err  # no progress of what is not done
    assert again.out == first.out
    assert main([str(configured(tmp_path, arms={"sync": ARMS["sync"]}, seeds=[0, 1])), *arguments[1:]]) == 0
    more = capsys.readouterr().err
    assert "psgd: scoring: 1 of 1 runs" in more
    assert ("tuning" in more, "nothing to train" in more) == (False, False)


def verify_on(where: Path, group: str) -> list[str]:
    return verify(where, read(where), "average", group)


def test_a_run_that_cannot_be_verified_is_an_error_with_its_exit_code(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "0f.yaml").write_text("workers: 1\ntraining: {epochs: 1}\n")
    run = {"id": "0f", "seed": 0, "sha256": "0" * 64}
    results = {"cells": [{"arm": "average", "at": {}, "workers": 1, "error": None, "runs": [run]}]}
    (tmp_path / "verified").write_text("a file")
    with pytest.raises(StorageError, match=f"^cannot make {tmp_path}/verified: File exists"):
        verify(tmp_path, results, "average", "serial")
    (tmp_path / "verified").unlink()
    (tmp_path / "verified" / "0f-serial").mkdir(parents=True)
    (tmp_path / "verified" / "0f-serial" / "of.somebody").write_text("else")
    with pytest.raises(UsageError, match=r"could not be trained again on serial \(code 2\)"):
        verify(tmp_path, results, "average", "serial")


@pytest.mark.parametrize("group", ["threads", "mpi"])
def test_a_cell_is_verified_on_another_group(made, group):
    if group == "mpi" and not shutil.which("mpirun"):
        pytest.skip("no mpirun here")
    where, _ = made
    sha256 = read(where)["cells"][1]["runs"][0]["sha256"]
    assert verify_on(where, group) == [f"seed 0: {sha256}, on {group} too"]


def test_another_hash_is_an_error(made, tmp_path, monkeypatch):
    where, _ = made
    results = read(where)
    results["cells"][1]["runs"][0]["sha256"] = "0" * 64
    problem = f"seed 0 of average on serial has the hash [0-9a-f]+, not {'0' * 64}"
    with pytest.raises(PsgdError, match=f"{problem}$"):
        verify(where, results, "average", "serial")
    monkeypatch.setattr(Fingerprints, "__call__", lambda self, settings: "of other data")
    with pytest.raises(PsgdError, match=f"{problem}; the data, or psgd itself, are not those of the comparison"):
        verify(where, results, "average", "serial")
    with pytest.raises(UsageError, match=r"there is no cell 'averge'; there are: sync; average; weighted; broken"):
        verify(where, results, "averge", "serial")
    with pytest.raises(UsageError, match="broken has no run that ended, so there is no hash to compare: training"):
        verify(where, results, "broken", "serial")
    with pytest.raises(UsageError, match="--group is gpu; choose one of serial, threads, mpi, ray"):
        verify(where, results, "average", "gpu")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="--group mpi needs mpirun"):
        verify(where, results, "average", "mpi")


def test_the_dry_run_knows_what_is_done_and_what_will_fail(made, in_process, capsys):
    where, _ = made
    assert main([str(where.parent / "tiny.yaml"), "--output", str(where), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Runs for tuning: 2, of which 2 are done" in lines
    assert "Runs for scoring: 4, of which 3 are done" in lines
    assert "Runs for timing, one at a time: 4, of which 3 are done" in lines
    assert lines[-2].startswith("broken will fail: training.batch_size_per_worker is 5000, but there are 1293")
    assert lines[-1] == f"Estimated time: 3.00 s (costs and report 3.00 s), with {command.cores()} runs at once"


def test_results_of_every_call_are_those_of_its_config(made):
    """The directory can be given instead of the config that made it."""
    where, _ = made
    options = argparse.Namespace(config=str(where / "comparison.yaml"))
    assert [cell.name for cell in ComparisonPlan(read_comparison(options.config)).cells] == list(ARMS)
