"""The summary of a run: as it is printed and as it is kept, and what it says was sent."""

import json
import math
import os
import signal

import pytest
from command import train
from run_files import read_metrics, read_summary

import psgd
from psgd.jobs.files.summary import parameters_sha256, rounded
from psgd.training.loop import Loop

SIZE = 64 * 64 + 64 + 64 * 10 + 10  # parameters of the digits' network


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("train_seconds", 12.345678901, 12.346),
        ("train_seconds", 86400.98765, 86400.988),
        ("combine_seconds", 0.00055302098, 0.000553),
        ("compute_seconds", 0.98765432, 0.9877),
        ("wait_seconds", 0.0, 0.0),
        ("examples_per_second", 131032.06, 131000),
        ("examples_per_second", 4.23456, 4.235),
        ("examples_per_second", None, None),
        ("epochs", 15.467904098994586, 15.4679),
        ("test_loss", 0.0000123456789, 0.0000123457),
        ("test_accuracy", 0.8527777777, 0.852778),
        ("bytes_sent_per_worker", 123456789012, 123456789012),
        ("last_weights", [1 / 3, 2 / 3], [0.333333, 0.666667]),
        ("worker_steps", [1234567, 1], [1234567, 1]),
        ("status", "done", "done"),
    ],
)
def test_numbers_are_printed_with_the_digits_that_people_read(name, value, shown):
    assert rounded({name: value}) == {name: shown}
    assert type(rounded({name: value})[name]) is type(shown)


def test_what_is_not_finite_is_left_to_json():
    assert math.isnan(rounded({"test_loss": math.nan})["test_loss"])
    assert rounded({"train_seconds": math.inf})["train_seconds"] == math.inf


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_prints_what_it_keeps_and_one_worker_sends_nothing(workers, tmp_path):
    finished = train("training.epochs=2", f"workers={workers}", "group=serial", "--quiet", "--output", tmp_path / "run")
    assert finished.code == 0, finished
    kept = read_summary(tmp_path / "run")
    assert json.loads(finished.stdout) == rounded(kept)
    assert kept["epochs"] != round(kept["epochs"], 6)  # all digits
    sent = kept["rounds"] * SIZE * 4 if workers > 1 else 0
    assert kept["bytes_sent_per_worker"] == sent
    rows = read_metrics(tmp_path / "run")
    assert max(row.get("bytes", 0) for row in rows) == sent


EARLY = {"data.validation": 0.1, "training.early_stop": {"patience": 5}}


@pytest.mark.parametrize("settings", [{}, EARLY], ids=["", "early stop"])
@pytest.mark.parametrize(("stop", "scored"), [(3, None), (4, 4), (6, 4)])
def test_a_stopped_run_says_of_which_epoch_its_scores_are(stop, scored, settings, tmp_path, monkeypatch):
    """Stopped in round `stop` of a run that is evaluated after every fourth, so with scores of round `scored`."""
    ran, hashes = Loop._round, {}

    def stopping(loop):
        replica = loop.replica
        hashes[replica.progress.round] = parameters_sha256(replica.parameters)
        if replica.progress.round == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return ran(loop)

    monkeypatch.setattr(Loop, "_round", stopping)
    with pytest.raises(SystemExit):
        psgd.train(
            **{"strategy.name": "gradient-averaging", "training.batch_size_per_worker": 90},
            **{"training.evaluate_every": 1, "group": "serial", "output": tmp_path, "progress": False, **settings},
        )
    found = psgd.Run(tmp_path)
    assert (found.summary["status"], found.summary["rounds"]) == ("stopped", stop)
    assert found.parameters_sha256 == hashes[stop]
    rows = [row for row in read_metrics(tmp_path) if "test_loss" in row]
    assert [row["round"] for row in rows] == [scored] * (scored is not None)
    assert found.summary.get("test_loss") == (rows[0]["test_loss"] if rows else None)
    epoch = found.summary.get("scores_epoch")
    assert epoch == (pytest.approx(rows[0]["epoch"]) if stop == 6 else None)
    assert f" at epoch {epoch or 0:.4g}\n" in f"{found}" or epoch is None
    assert "best_epoch" not in found.summary
