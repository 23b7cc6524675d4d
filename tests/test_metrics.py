"""The file of metrics: lines are buffered for a moment, and written before a checkpoint."""

from pathlib import Path

import pytest
from jobs import NAMES, job, strategies
from run_files import read_metrics

from psgd.core.errors import StorageError
from psgd.core.replica import Progress
from psgd.group.serial import Serial
from psgd.training import metrics
from psgd.training.checkpoint_files import CheckpointFiles
from psgd.training.checkpoints import Saving
from psgd.training.loop import Loop
from psgd.training.metrics import HOLD_SECONDS, Metrics
from psgd.training.recorder import Recorder
from psgd.training.stopwatch import Stopwatch


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(metrics, "time", clock)
    return clock


def rounds(directory: Path) -> list[int]:
    return [row["round"] for row in read_metrics(directory)]


def add(file: Metrics, *numbers: int) -> None:
    for number in numbers:
        file.add(lambda number=number: {"round": number, "examples": 10 * number})


def test_the_first_line_is_written_at_once_and_others_are_buffered(tmp_path: Path, clock: Clock) -> None:
    file = Metrics(tmp_path)
    add(file, 1)
    assert rounds(tmp_path) == [1]
    add(file, 2, 3)
    clock.now += HOLD_SECONDS / 2
    add(file, 4)
    assert rounds(tmp_path) == [1]
    clock.now += HOLD_SECONDS / 2
    add(file, 5)
    assert rounds(tmp_path) == [1, 2, 3, 4, 5]
    add(file, 6)
    file.close()
    assert rounds(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_truncating_keeps_buffered_lines_of_earlier_rounds(tmp_path: Path, clock: Clock) -> None:
    file = Metrics(tmp_path)
    add(file, 1, 2, 3, 4)
    assert file.truncate(lambda row: row["round"] <= 3) == 30
    assert rounds(tmp_path) == [1, 2, 3]
    add(file, 4)
    file.flush()
    assert rounds(tmp_path) == [1, 2, 3, 4]
    assert file.truncate(lambda row: row["round"] <= 0) == 0


def test_without_a_directory_nothing_is_made() -> None:
    def row() -> metrics.Row:
        raise AssertionError("nobody asked for it")

    file = Metrics(None)
    file.add(row)
    file.flush()
    assert file.truncate(lambda row: row["round"] <= 3) == 0
    file.close()


def test_a_full_disk_is_reported_once(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    file = Metrics(tmp_path)
    with pytest.raises(StorageError, match=r"cannot write .*metrics.jsonl: No space left"):
        add(file, 1)
    add(file, 2)
    file.close()


def test_lines_are_written_before_the_checkpoint_of_their_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that resumes from it writes only later lines."""
    monkeypatch.setattr(metrics, "HOLD_SECONDS", float("inf"))
    one = job(strategies(4)[NAMES[0]], 4, epochs=1.0)
    record = Recorder(tmp_path, len(one.data.train), one.epochs, "", quiet=True)
    found, complete = [], CheckpointFiles.complete
    monkeypatch.setattr(
        CheckpointFiles, "complete", lambda *of: (found.append((rounds(tmp_path), of[2])), complete(*of))
    )
    Loop(one, Serial(), record, Saving(tmp_path)).run()
    lines, progress = found[0]
    assert len(set(lines)) > 1
    assert lines[-1] == progress.round


@pytest.mark.parametrize(("epochs", "lines"), [(1, 100), (10, 1000), (50, 1000)])
def test_a_hundred_lines_an_epoch_and_a_thousand_a_run(tmp_path: Path, epochs: int, lines: int) -> None:
    record = Recorder(tmp_path, 400, epochs, "", quiet=True)
    for number in range(1, 200 * epochs + 1):
        record.round(
            Progress(round=number, position=2 * number),
            loss=1.0,
            examples=2,
            bytes_sent=0,
            stopwatch=Stopwatch(lambda: 0.0),
        )
    record.close()
    found = rounds(tmp_path)
    assert found == [number * 200 * epochs // lines for number in range(1, lines + 1)]
