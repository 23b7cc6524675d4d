"""The summary of a run: as it is printed and as it is kept, and what it says was sent."""

import json
import math

import pytest
from command import train

from psgd.jobs.summary import rounded

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
    kept = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert json.loads(finished.stdout) == rounded(kept)
    assert kept["epochs"] != round(kept["epochs"], 6)  # all digits
    sent = kept["rounds"] * SIZE * 4 if workers > 1 else 0
    assert kept["bytes_sent_per_worker"] == sent
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(row.get("bytes", 0) for row in rows) == sent
