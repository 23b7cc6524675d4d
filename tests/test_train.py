"""The command psgd.train: the files that it writes, how it ends, and that invalid input leaves no files."""

import gzip
import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import command, refused, run, train
from processes import ROOT, Finished, Running
from processes import run as run_command
from safetensors.numpy import load_file

from psgd.config.resolve import resolve
from psgd.config.settings import GradientAveraging
from psgd.core.files import to_json
from psgd.jobs.launch.command import main

__all__ = ["run"]  # a fixture


@pytest.fixture
def call(capfd) -> Callable[..., Finished]:
    """The command as a function call in this process: a usage error costs no start of Python."""

    def call(*arguments: object) -> Finished:
        began = time.monotonic()
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Finished(code, *capfd.readouterr(), time.monotonic() - began)

    return call


def test_json_has_null_where_a_number_is_not_finite():
    value = {"loss": math.nan, "weights": [0.5, math.inf], "scores": {"test": (np.float64("-inf"), 1)}, "name": "nan"}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == {
        "loss": None, "weights": [0.5, None], "scores": {"test": [None, 1]}, "name": "nan",
    }  # fmt: skip


def test_indented_json_has_a_list_of_numbers_in_one_line():
    value = {"weights": [0.5, None, 1e-9], "rows": [[1, 2], []], "text": ["a [\n 1\n]", 2], "both": [{"weights": [1]}]}
    text = to_json(value, indent=2)
    assert json.loads(text) == value
    assert '"weights": [0.5, null, 1e-09],' in text
    assert "    [1, 2],\n" in text


def test_the_run_directory(run):
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "model.safetensors", "summary.json",
    ]  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "done"
    assert set(summary) >= {
        "strategy", "group", "device", "workers", "processes", "rounds", "epochs", "examples", "train_seconds",
        "examples_per_second", "bytes_sent_per_worker", "test_loss", "test_accuracy", "parameters_sha256",
        "worker_steps", "last_weights", "examples_per_epoch",
    }  # fmt: skip
    model = load_file(run / "model.safetensors")
    assert {name: array.shape for name, array in model.items()} == {
        "layers.1.weights": (64, 64), "layers.1.biases": (64,), "layers.2.weights": (64, 10), "layers.2.biases": (10,),
    }  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[0].keys() >= {"round", "epoch", "examples", "seconds", "compute_seconds", "bytes", "loss", "weights"}
    assert rows[-1]["test_accuracy"] == summary["test_accuracy"]
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processes"][0]["blas"]["threads"] == 1


def test_the_resolved_config_runs_as_it_is(run, tmp_path):
    assert train(run / "config.yaml", "--quiet", "--output", tmp_path / "again").code == 0
    ours, theirs = (json.loads((d / "summary.json").read_text()) for d in (run, tmp_path / "again"))
    assert ours["parameters_sha256"] == theirs["parameters_sha256"]
    assert (run / "config.yaml").read_text() == (tmp_path / "again" / "config.yaml").read_text()


def test_the_defaults_are_the_digits_config():
    defaults, digits = (resolve(path, []).settings for path in (None, str(ROOT / "configs" / "digits.yaml")))
    assert defaults.replace(output="") == digits.replace(output="")


def test_digits_reach_95_percent(tmp_path):
    finished = train("configs/digits.yaml", "--quiet", "--output", tmp_path / "run")
    assert json.loads(finished.stdout)["test_accuracy"] >= 0.95


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_names_its_source_and_resolves(call, path):
    assert path.read_text().startswith("# ")
    assert call(path, "--dry-run", "--no-probe").code == 0


def test_the_batch_loop_config_learns(tmp_path):
    """After three of its five epochs it is right three times as often as by chance."""
    finished = train("configs/batch_loop.yaml", "training.epochs=3", "--quiet", "--output", tmp_path / "run")
    assert finished.code == 0, finished
    assert json.loads(finished.stdout)["test_accuracy"] > 0.25


def test_a_dry_run_without_a_probe_prints_a_config_that_runs_and_leaves_nothing(tmp_path):
    settings = "strategy.name=gradient-averaging", "optimizer.learning_rate=1e-3", f"output={tmp_path}/runs/x"
    finished = train("--dry-run", "--no-probe", *settings)
    assert finished.code == 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "printed.yaml").write_text(finished.stdout)
    resolved = resolve(str(tmp_path / "printed.yaml"), []).settings
    assert resolved.strategy == GradientAveraging()
    assert resolved.optimizer.learning_rate == 0.001
    assert train(tmp_path / "printed.yaml", "training.epochs=1", "--quiet", "--output", tmp_path / "run").code == 0


def test_resuming_a_finished_run_for_more_epochs_has_the_bits_of_a_long_run(tmp_path):
    long = json.loads(train("training.epochs=20", "--quiet", "--output", tmp_path / "long").stdout)
    train("training.epochs=7", "--quiet", "--output", tmp_path / "run")
    more = train("--resume", "training.epochs=20", "--quiet", "--output", tmp_path / "run")
    assert json.loads(more.stdout)["parameters_sha256"] == long["parameters_sha256"]


def test_the_target_ends_training(tmp_path):
    finished = train("training.target=0.8", "training.epochs=100", "--quiet", "--output", tmp_path / "run")
    summary = json.loads(finished.stdout)
    assert summary["status"] == "target-reached"
    assert summary["test_accuracy"] >= 0.8
    assert summary["epochs"] < 20


def test_a_run_that_reached_its_target_resumes_with_another(tmp_path):
    train("training.target=0.8", "--quiet", "--output", tmp_path / "run")
    more = json.loads(train("--resume", "training.target=0.9", "--quiet", "--output", tmp_path / "run").stdout)
    assert (more["status"], more["test_accuracy"] >= 0.9) == ("target-reached", True)
    rest = json.loads(train("--resume", "training.target=null", "--quiet", "--output", tmp_path / "run").stdout)
    assert rest["status"] == "done"
    assert rest["epochs"] >= 50


def test_evaluations_stay_at_whole_epochs_after_resuming(tmp_path):
    train("training.epochs=2.5", "strategy.period=4", "--quiet", "--output", tmp_path / "run")
    train("--resume", "training.epochs=5", "--quiet", "--output", tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [int(2 * row["epoch"]) / 2 for row in rows if "test_loss" in row] == [1, 2, 2.5, 3, 4, 5]


def test_the_job_ends_when_no_worker_is_finite_for_ten_rounds(tmp_path):
    arguments = ("optimizer={name: sgd, learning_rate: 1e9}", "model={loss: squared-error, activation: identity}")
    finished = train(*arguments, "training.on_nonfinite=exclude", "strategy.period=2", "--output", tmp_path / "run")
    assert finished.code == 4, finished
    assert finished.stderr.count("no worker was finite in the last 10 rounds") == 1
    assert "excluded: worker 0, 1, 2, 3" in finished.stderr


def test_a_run_without_a_single_combination_has_diverged(tmp_path):
    """In fewer than ten rounds, all of which exclude every worker: the initial weights are no result."""
    arguments = ("optimizer={name: sgd, learning_rate: 1e9}", "model={loss: squared-error, activation: identity}")
    more = ("training.on_nonfinite=exclude", "training.epochs=1", "--output", tmp_path / "run")
    finished = train(*arguments, *more)
    assert finished.code == 4, finished
    assert "no worker was finite in any round" in finished.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "diverged"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_model_larger_than_memory_is_refused(tmp_path):
    refusal = train("model.hidden=[1000000000]", "--output", tmp_path / "run")
    refused(
        refusal, 2, "75,000,000,010 parameters, 4 workers and batches of 10 need ", "GiB at least, and", "model.hidden"
    )
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    arguments = ("data={source: synthetic, examples: 6, features: 3, classes: 2}", "training.epochs=1")
    refused = train(*arguments, "training.batch_size_per_worker=7", "--output", tmp_path / "run")
    assert refused.code == 2, refused
    assert "training.batch_size_per_worker is 7, but there are 6 training examples" in refused.stderr
    assert "use at most 6" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert train(*arguments, "training.batch_size_per_worker=6", "--output", tmp_path / "run").code == 0
    drawn = train(
        *arguments, "training.batch_size_per_worker=7", "data.mode=replacement", "--output", tmp_path / "drawn"
    )
    assert drawn.code == 0, drawn  # with replacement, a step may use an example twice


@pytest.mark.parametrize("name", ["gradient-averaging", "parameter-averaging"])
def test_a_round_longer_than_the_training_is_told_with_advice_that_can_be_followed(name, tmp_path):
    arguments = (f"strategy.name={name}", "workers=50", "training.batch_size_per_worker=60", "training.epochs=1")
    finished = train(*arguments, "--output", tmp_path / "run")
    assert finished.code == 0, finished
    assert "warning: a round deals" in finished.stderr
    assert "a step of all workers uses 3000 examples, more than the 1437 of an epoch" in finished.stderr
    assert "training.batch_size_per_worker or workers, or raise training.epochs" in finished.stderr
    assert ("strategy.period" in finished.stderr) == (name == "parameter-averaging")


def test_a_dry_run_whose_reader_leaves_is_an_error():
    finished = run_command(["bash", "-c", f"{' '.join(command())} --dry-run --no-probe > /dev/full"])
    refused(finished, 3, "cannot write to standard output: No space left on device")


def test_a_full_stdout_is_an_error(tmp_path):
    line = f"{' '.join(command())} training.epochs=1 --quiet --output {tmp_path}/run > /dev/full"
    finished = run_command(["bash", "-c", line])
    refused(finished, 3, "cannot write the summary")


def test_a_signal_before_training(tmp_path):
    slow = "data={source: synthetic, examples: 300000, features: 300, classes: 4}"
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75)):
        running = Running([*command(), slow, "--output", str(tmp_path / f"run{code}")])
        running.wait_until(lambda pid=running.process.pid: catches_sigterm(pid))
        os.kill(running.process.pid, number)
        refused(running.finish(), code, "stopped before training began")


def catches_sigterm(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM, which it installs last."""
    caught = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_divergence_ends_with_its_code(tmp_path):
    arguments = ("optimizer.name=sgd", "optimizer.learning_rate=1e9", "model.loss=squared-error", "--quiet")
    refused_with_summary = train(*arguments, "--output", tmp_path / "run")
    assert refused_with_summary.code == 4
    assert refused_with_summary.stderr.count("is not finite") == 1
    assert "Traceback" not in refused_with_summary.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "diverged"
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not list(tmp_path.glob("run/checkpoints/0*")), "a replica that is not finite was saved"


def test_sigterm_without_a_launcher(tmp_path):
    """On threads."""
    long = ("training.epochs=3000", "group=threads", "--quiet")
    running = Running([*command(), *long, "--output", str(tmp_path / "run")])
    running.wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    os.kill(running.process.pid, signal.SIGTERM)
    finished = running.finish()
    assert finished.code == 75, finished
    assert finished.stderr.count("--resume") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["training.epocs=1"], ["did you mean epochs?"]),
        (["workers=0"], ["workers is 0"]),
        (["training.batch_size_per_worker=-5"], ["is -5"]),
        (["training.epochs=many"], ['is "many"']),
        (["missing.yaml"], ["missing.yaml"]),
        (["group=mpi", "cluster.processes=3"], ["cluster.processes"]),
        (["--resume", "--overwrite"], ["choose one"]),
        (["--overwrite"], ["--output DIR"]),
    ],
)
def test_usage_errors(call, tmp_path, arguments, words):
    refused(call(*arguments, f"output={tmp_path}/x"), 2, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {epochs: 1, epochs: 2}", ["given twice"]),
        ("workers: [", ["not valid YAML"]),
        ("workers: '4'", ['workers is "4"']),
        ("strategy: {name: weighted-averaging, rat: 1}", ["strategy.rat"]),
    ],
)
def test_invalid_config_files(call, tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    refused(call(path, f"output={tmp_path}/x"), 2, *words, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"]


def write_idx(directory: Path, images: np.ndarray, labels: np.ndarray) -> None:
    codes = {"u1": 8, "f4": 13}
    directory.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, codes[array.dtype.str[1:]], array.ndim]) + np.array(array.shape, ">i4").tobytes()
            with gzip.open(directory / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())


def test_truncated_and_missing_data_are_errors(tmp_path):
    images, labels = np.zeros((20, 4, 4), np.uint8), np.arange(20, dtype=np.uint8) % 3
    write_idx(tmp_path / "data", images, labels)
    path = tmp_path / "data" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-7]))
    arguments = ("data.source=idx", f"data.path={tmp_path}/data", "--output", tmp_path / "x")
    refused(train(*arguments), 3, "train-images-idx3-ubyte.gz")
    path.unlink()
    refused(train(*arguments), 3, "train-images-idx3-ubyte.gz")
    nowhere = {"PSGD_DATA": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    refused(train("data.source=mnist", "--output", tmp_path / "x", **nowhere), 3, "PSGD_DATA")
    assert not (tmp_path / "x").exists()
