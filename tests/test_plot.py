"""Learning curves: reading runs, drawing them, and errors about runs that cannot be read."""

import errno
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from processes import Finished, python

pytest.importorskip("matplotlib", reason="the report extra is not installed")

from psgd.compare.single_run.curves import Curve, RunCurves, read_run
from psgd.compare.single_run.picture import POINTS, draw, labels
from psgd.core.errors import DataError
from psgd.plot import main


def metrics(accuracy: bool = True, test: bool = True, rounds: int = 40) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i in range(1, rounds + 1):
        head = {"round": i, "epoch": i / 10, "examples": 100 * i, "seconds": i / 4}
        rows.append({**head, "bytes": 1000 * i, "loss": 2.0 / i, "weights": [0.5, 0.5]})
        if test and i % 10 == 0:
            rows.append({**head, "test_loss": 3.0 / i, **({"test_accuracy": 1 - 1 / i} if accuracy else {})})
    return rows


def write(directory: Path, rows: list[dict[str, object]], strategy: str = "gradient-averaging") -> Path:
    directory.mkdir(parents=True)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "config.yaml").write_text(f"strategy: {{name: {strategy}}}\nworkers: 4\n")
    return directory


def plot(*arguments: object) -> Finished:
    return python("-m", "psgd.plot", *map(str, arguments))


def size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_an_evaluation_is_at_the_bytes_of_the_round_before(tmp_path):
    run = read_run(write(tmp_path / "run", metrics(rounds=20)))
    assert list(run.curves) == ["loss", "test_loss", "test_accuracy"]
    assert run.curves["test_loss"] == Curve(
        {"seconds": [2.5, 5.0], "examples": [1000, 2000], "bytes": [10000, 20000]}, [0.3, 0.15]
    )


def test_values_that_are_not_finite_are_left_out(tmp_path):
    rows = metrics(test=False, rounds=3)
    rows[0]["loss"], rows[1]["loss"] = None, float("nan")
    rows.insert(1, {"round": 1, "epoch": 0.5, "seconds": 1.0, "examples": 1, "validation_loss": None})  # overflowed
    assert read_run(write(tmp_path / "run", rows)).curves["loss"].values == [2.0 / 3]


def test_an_incomplete_last_line_is_ignored(tmp_path):
    run = write(tmp_path / "run", metrics(test=False, rounds=3))
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"round": 4, "ep')
    assert len(read_run(run).curves["loss"].values) == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken", "not JSON"),
        ("[1, 2]", "is no mapping"),
        ('{"examples": 1, "loss": 1}', "seconds is null; expected a number"),
        ('{"seconds": 1, "examples": 1, "loss": "low"}', 'loss is "low"; expected a number'),
        ('{"seconds": 1, "examples": true, "loss": 1}', "examples is true"),
    ],
)
def test_broken_metrics_are_named_by_line(tmp_path, line, words):
    run = write(tmp_path / "run", metrics(test=False, rounds=2))
    with open(run / "metrics.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError) as caught:
        read_run(run)
    assert str(caught.value).startswith(f"{run}/metrics.jsonl:3: ")
    assert words in str(caught.value)


def panels(figure) -> list[tuple[str, str]]:
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


def test_there_are_six_panels_with_accuracy_and_three_without(tmp_path):
    classes = read_run(write(tmp_path / "a", metrics()))
    regression = read_run(write(tmp_path / "b", metrics(accuracy=False)))
    blind = read_run(write(tmp_path / "c", metrics(test=False)))
    assert len(draw([classes, blind], ["a", "c"]).axes) == 6
    assert panels(draw([regression], ["b"])) == [
        ("training seconds", "loss"), ("thousand examples", ""), ("kB sent by each worker", ""),
    ]  # fmt: skip
    assert len(draw([blind], ["c"]).axes) == 3


def test_runs_differ_in_more_than_colour(tmp_path):
    runs = [read_run(write(tmp_path / str(i), metrics())) for i in range(8)]
    for axes in draw(runs, list("abcdefgh")).axes:
        main_lines = [line for line in axes.lines if line.get_marker() != "None"]
        assert len({(str(line.get_linestyle()), line.get_marker()) for line in main_lines}) == 8


def test_the_points_drawn_are_those_of_the_run(tmp_path):
    figure = draw([read_run(write(tmp_path / "run", metrics()))], ["run"])
    seconds, bytes_sent = figure.axes[3].lines[0], figure.axes[5].lines[0]
    assert seconds.get_xdata().tolist() == [2.5, 5.0, 7.5, 10.0]
    assert seconds.get_ydata().tolist() == [0.9, 0.95, 1 - 1 / 30, 0.975]
    assert bytes_sent.get_xdata().tolist() == [10.0, 20.0, 30.0, 40.0]  # kB


def test_a_noisy_training_loss_is_averaged(tmp_path):
    run = read_run(write(tmp_path / "run", metrics(test=False, rounds=4 * POINTS)))
    line = draw([run], ["run"]).axes[0].lines[0]
    assert len(line.get_xdata()) == POINTS
    assert line.get_ydata()[0] == pytest.approx((2 + 1 + 2 / 3 + 0.5) / 4)


def test_unequal_runs_share_a_logarithmic_axis(tmp_path):
    long = read_run(write(tmp_path / "long", metrics(rounds=400)))
    short = read_run(write(tmp_path / "short", metrics(rounds=20)))
    assert [axes.get_xscale() for axes in draw([long, short], ["a", "b"]).axes[3:]] == ["log"] * 3
    assert [axes.get_xscale() for axes in draw([long], ["a"]).axes[3:]] == ["linear"] * 3


def test_labels_name_the_run_its_strategy_and_workers(tmp_path):
    one = RunCurves(write(tmp_path / "x" / "mnist-001", metrics()), {})
    other = RunCurves(write(tmp_path / "mnist-002", metrics(), "parameter-averaging, period: 50"), {})
    same = RunCurves(write(tmp_path / "y" / "mnist-001", metrics()), {})
    assert labels([one, other]) == [
        "mnist-001: gradient-averaging, 4 workers",
        "mnist-002: parameter-averaging, period 50, 4 workers",
    ]
    assert labels([one, same])[1] == f"{tmp_path}/y/mnist-001: gradient-averaging, 4 workers"
    outer = "parameter-averaging, outer: {learning_rate: 0.7, momentum: 0.9, nesterov: true}"
    write(tmp_path / "z", metrics(), outer)
    assert labels([RunCurves(tmp_path / "z", {})]) == [
        "z: parameter-averaging with outer rate 0.7 and Nesterov's momentum 0.9, 4 workers"
    ]
    (same.path / "config.yaml").write_text("strategy: [none of psgd's]\n")
    assert labels([other, same])[1] == "mnist-001"


def test_names_are_drawn_as_they_are(tmp_path):
    """What stands between two $ is not taken for a formula; bytes of a path that are not text are marked."""
    names = ["cost $1$", r"\frac$\frac$", os.fsdecode(b"r\xfc")]
    runs = [read_run(write(tmp_path / name, metrics(rounds=10))) for name in names]
    figure = draw(runs, labels(runs))
    figure.savefig(io.BytesIO())
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text.split(":")[0] for text in texts[:3]] == [*names[:2], "r\ufffd"]
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())


def test_the_seconds_of_a_short_run_are_milliseconds(tmp_path):
    rows = [{**row, "seconds": 0.001 * number} for number, row in enumerate(metrics(rounds=10), 1)]
    panel = draw([read_run(write(tmp_path / "run", rows))], ["run"]).axes[3]
    assert panel.get_xlabel() == "training milliseconds"
    assert panel.lines[0].get_xdata()[-1] == pytest.approx(11)


def test_the_command_draws_a_picture(tmp_path):
    runs = [write(tmp_path / name, metrics()) for name in "ab"]
    finished = plot(*runs, "--output", tmp_path / "out.png")
    assert finished.code == 0, finished
    assert finished.stdout == f"{tmp_path}/out.png\n"
    width, height = size(tmp_path / "out.png")
    assert 1000 < width < 2000
    assert 700 < height < 1400
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "out.png"]


def test_a_path_that_is_not_text_is_printed_as_it_was_given(tmp_path):
    run, path = write(tmp_path / "run", metrics()), os.fsencode(tmp_path) + b"/\xfc.png"
    done = subprocess.run([sys.executable, "-m", "psgd.plot", run, "--output", path], capture_output=True, check=True)
    assert done.stdout == path + b"\n"


def test_the_metrics_of_a_real_run_are_drawn(tmp_path):
    trained = python("-m", "psgd.train", "training.epochs=2", "--quiet", "--output", str(tmp_path / "run"))
    assert trained.code == 0, trained
    assert main([str(tmp_path / "run"), "--output", str(tmp_path / "out.svg")]) == 0
    drawn = (tmp_path / "out.svg").read_text()
    assert "run: weighted-averaging, period 50, 4 workers (test data)" in drawn
    assert "accuracy" in drawn


def test_runs_that_cannot_be_read_are_errors(tmp_path, capsys):
    empty = write(tmp_path / "empty", [])
    (tmp_path / "nothing").mkdir()
    begun = write(tmp_path / "begun", [])
    (begun / "metrics.jsonl").unlink()
    for run, words in (
        (empty, f"{empty}/metrics.jsonl:0: no loss"),
        (tmp_path / "nothing", "give the directory of a run"),
        (tmp_path / "none", "there is no such run"),
        (empty / "config.yaml", f"psgd: {empty}/config.yaml is a file; give the directory of a run, such as {empty}"),
        (begun, f"{begun}/metrics.jsonl does not exist: the run has just begun, or ended before its first line"),
    ):
        assert main([str(run), "--output", str(tmp_path / "out.png")]) == 3
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_invalid_output_paths_are_errors(tmp_path, capsys):
    run = str(write(tmp_path / "run", metrics()))
    assert main([run, "--output", str(tmp_path / "out.txt")]) == 2
    assert ".png, .svg, .pdf" in capsys.readouterr().err
    assert main([run, "--output", str(tmp_path / "none" / "out.png")]) == 3
    assert "cannot write" in capsys.readouterr().err


def test_what_is_there_is_not_replaced(tmp_path, monkeypatch, capsys):
    run = str(write(tmp_path / "run", metrics()))
    monkeypatch.chdir(tmp_path)
    for arguments, name in (([], "curves.png"), (["--output", "other.svg"], "other.svg")):
        (tmp_path / name).write_text("mine")
        assert main([run, *arguments]) == 2
        assert capsys.readouterr() == (
            "",
            f"psgd: {name} exists already; remove it, or name another file by --output\n",
        )
        assert (tmp_path / name).read_text() == "mine"
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    assert main([run, "--output", "link.png"]) == 2
    assert (tmp_path / "link.png").is_symlink()


def test_without_matplotlib_the_message_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([str(write(tmp_path / "run", metrics())), "--output", str(tmp_path / "out.png")]) == 2
    assert "pip install 'psgd[report]'" in capsys.readouterr().err


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_stdout_is_an_error_without_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert main([str(write(tmp_path / "run", metrics())), "--output", str(tmp_path / "a.png")]) == 3
    sys.stdout.close()  # the null device, so that nothing is written at exit
    assert capsys.readouterr().err == "psgd: cannot write to standard output: No space left on device\n"
