"""The command psgd.train: the files that it writes, and how it ends."""

import json
import os
import signal
from pathlib import Path

import pytest
from command import call, command, refused, run, train
from processes import ROOT, Running
from processes import run as run_command
from run_files import read_metrics, read_summary
from safetensors.numpy import load_file

from psgd.config.resolve import resolve
from psgd.config.settings import GradientAveraging

__all__ = ["call", "run"]  # fixtures


def test_the_run_directory(run):
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "model.safetensors", "summary.json",
    ]  # fmt: skip
    summary = read_summary(run)
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
    rows = read_metrics(run)
    assert rows[0].keys() >= {"round", "epoch", "examples", "seconds", "compute_seconds", "bytes", "loss", "weights"}
    assert rows[-1]["test_accuracy"] == summary["test_accuracy"]
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processes"][0]["blas"]["threads"] == 1


def test_the_resolved_config_runs_as_it_is(run, tmp_path):
    assert train(run / "config.yaml", "--quiet", "--output", tmp_path / "again").code == 0
    ours, theirs = (read_summary(d) for d in (run, tmp_path / "again"))
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
    rows = read_metrics(tmp_path / "run")
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
    assert read_summary(tmp_path / "run")["status"] == "diverged"
    assert not (tmp_path / "run" / "model.safetensors").exists()


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
    assert read_summary(tmp_path / "run")["status"] == "diverged"
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
